#![doc = include_str!("../README.md")]

pub mod comparison;
pub mod document;
mod text;

pub use text::{listed, near_one, percent};
