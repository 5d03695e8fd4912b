//! Pictures for a page: SVG, with nothing outside of it.

pub(crate) mod heatmap;
pub(crate) mod scatter;
mod timeline;

pub(crate) use self::timeline::Timeline;
