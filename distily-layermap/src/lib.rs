//! Which student layers learn from which teacher layers.
//!
//! Index arithmetic, no tensors. Layers are decoder blocks, numbered from 0; the embedding is not a
//! layer. A [`LayerMapConfig`] is a rule as a config file says it; a [`LayerMap`] is the rule
//! applied to two depths.
//!
//! ```
//! use distily_layermap::LayerMapConfig;
//!
//! let map = LayerMapConfig::Uniform.build(4, 12)?;
//! assert_eq!(map.pairs(), [(0, 2), (1, 5), (2, 8), (3, 11)]);
//! println!("{map}"); // 0 <- 2, 1 <- 5, 2 <- 8, 3 <- 11
//! # Ok::<(), distily_layermap::LayerMapError>(())
//! ```

mod config;
mod map;

pub use config::{LayerMapConfig, LayerMapError};
pub use map::LayerMap;
