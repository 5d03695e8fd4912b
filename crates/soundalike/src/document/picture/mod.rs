//! Pictures for a page: self-contained SVG.

pub(crate) mod heatmap;
pub(crate) mod scatter;
mod timeline;

pub(crate) use self::timeline::Timeline;
