//! As much of `objc2-foundation` as candle uses.

use std::{
    ffi::{CString, c_char},
    fmt,
    path::Path,
};

use objc2::rc::Retained;

pub struct NSString(CString);

impl NSString {
    #[allow(clippy::should_implement_trait, reason = "the name is Apple's")]
    pub fn from_str(text: &str) -> Retained<Self> {
        Retained::new(Self(CString::new(text).expect("text without zeros")))
    }

    #[allow(non_snake_case, reason = "the name is Apple's")]
    pub fn UTF8String(&self) -> *const c_char {
        self.0.as_ptr()
    }
}

impl fmt::Display for NSString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

pub struct NSError(Retained<NSString>);

impl NSError {
    pub fn new(text: &str) -> Retained<Self> {
        Retained::new(Self(NSString::from_str(text)))
    }

    #[allow(non_snake_case, reason = "the name is Apple's")]
    pub fn localizedDescription(&self) -> Retained<NSString> {
        self.0.clone()
    }
}

impl fmt::Display for NSError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub struct NSRange {
    pub location: usize,
    pub length: usize,
}

impl NSRange {
    pub fn new(location: usize, length: usize) -> Self {
        Self { location, length }
    }
}

pub struct NSURL;

impl NSURL {
    pub fn from_file_path(_: impl AsRef<Path>) -> Option<Retained<Self>> {
        None
    }
}
