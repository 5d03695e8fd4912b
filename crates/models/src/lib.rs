#![doc = include_str!("../README.md")]

mod address;
mod cache;
mod catalogue;
mod client;
mod error;
mod file_hash;
mod install;
mod lock;
mod proxy;
mod registry;
mod settings;
mod store;
mod transfer;

pub use address::{Address, AddressError};
pub use cache::{CacheError, HubCache};
pub use catalogue::{Catalogue, Found, Origin};
pub use client::Problem;
pub use error::Error;
pub use install::CopyFrom;
pub use registry::{Kind, Licence, Model, ModelFile, Registry, RegistryError};
pub use settings::{Settings, Token};
pub use store::{Damage, Installed, InstalledFile, Store};
pub use transfer::{Event, Failure};
