//! Pictures for a page: self-contained SVG.

pub mod heatmap;
pub mod scatter;
mod timeline;

pub use self::timeline::Timeline;
