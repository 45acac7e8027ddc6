use burn::tensor::Device;

/// The device of the chosen feature: CUDA before wgpu before the CPU.
pub fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(all(feature = "flex", not(any(feature = "wgpu", feature = "cuda"))))]
    return Device::flex();
    #[cfg(not(any(feature = "flex", feature = "wgpu", feature = "cuda")))]
    compile_error!("choose a backend: --features flex, wgpu or cuda");
}
