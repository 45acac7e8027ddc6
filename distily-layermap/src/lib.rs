//! Which student layers learn from which teacher layers.
//!
//! Index arithmetic, no tensors. Layers are decoder blocks, numbered from 0; the embedding is not a
//! layer. A [`LayerMapConfig`] is a rule as a config file says it; a [`LayerMap`] is the rule
//! applied to two depths.
//!
//! ```
//! use distily_layermap::LayerMapConfig;
//!
//! let (student, teacher) = (4, 12); // layers
//! let map = LayerMapConfig::Uniform.build(student, teacher)?;
//! assert_eq!(map.pairs(), [(0, 2), (1, 5), (2, 8), (3, 11)]);
//! assert_eq!(map.to_string(), "\
//! student  teacher (12 layers)
//!       0  ..#.........  2
//!       1  .....#......  5
//!       2  ........#...  8
//!       3  ...........#  11");
//!
//! // A student layer may learn from several teacher layers.
//! let map = LayerMapConfig::UniformConsecutiveBalanced.build(student, teacher)?;
//! for (layer, teacher_layers) in map.by_student() {
//!     println!("student layer {layer} learns from {teacher_layers:?}"); // 0 from [0, 1, 2]
//! }
//! # assert_eq!(map.by_student().next(), Some((0, vec![0, 1, 2])));
//! # Ok::<(), distily_layermap::LayerMapError>(())
//! ```
//!
//! The same from a config file:
//!
//! ```
//! use distily_layermap::LayerMapConfig;
//! use std::collections::BTreeMap;
//!
//! let config: BTreeMap<String, LayerMapConfig> = toml::from_str(r#"
//!     hidden = "uniform"
//!     attention = { last_k = { k = 2 } }
//!     values = { explicit = { pairs = [[0, 3], [2, 7], [2, 8]] } } # [student, teacher], from 0
//! "#)?;
//! assert_eq!(config["attention"].build(4, 12)?.pairs(), [(2, 10), (3, 11)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod consecutive;
mod error;
mod map;
mod picture;
mod random;
mod uniform;

pub use config::LayerMapConfig;
pub use error::{LayerMapError, MAX_LAYERS};
pub use map::LayerMap;
