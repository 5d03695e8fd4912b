//! Values.

use objc2::{rc::Retained, runtime::ProtocolObject};
use objc2_foundation::{NSError, NSString, NSURL};

use crate::MTLDevice;

#[derive(Debug, Clone, Copy)]
pub struct MTLResourceOptions(pub usize);

impl MTLResourceOptions {
    pub const StorageModeShared: Self = Self(0);
    pub const StorageModePrivate: Self = Self(2 << 4);
    pub const HazardTrackingModeUntracked: Self = Self(1 << 8);
}

#[derive(Debug, Clone, Copy)]
pub struct MTLSize {
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

pub enum MTLDispatchType {
    Concurrent,
}

pub enum MTLBarrierScope {
    Buffers,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MTLCommandBufferStatus(usize);

impl MTLCommandBufferStatus {
    pub const NotEnqueued: Self = Self(0);
    pub const Enqueued: Self = Self(1);
    pub const Committed: Self = Self(2);
    pub const Scheduled: Self = Self(3);
    pub const Completed: Self = Self(4);
    pub const Error: Self = Self(5);
}

pub enum MTLDataType {
    Bool,
    Float,
    ULong,
    UShort,
}

pub enum MTLMathMode {
    Fast,
    Relaxed,
}

pub enum MTLMathFloatingPointFunctions {
    Fast,
    Precise,
}

pub struct MTLCompileOptions;

impl MTLCompileOptions {
    #[allow(clippy::new_ret_no_self, reason = "Apple's objects are counted")]
    pub fn new() -> Retained<Self> {
        Retained::new(Self)
    }
    pub fn setMathMode(&self, _: MTLMathMode) {}
    pub fn setMathFloatingPointFunctions(&self, _: MTLMathFloatingPointFunctions) {}
    pub fn setFastMathEnabled(&self, _: bool) {}
}

pub struct MTLResidencySetDescriptor;

impl MTLResidencySetDescriptor {
    #[allow(clippy::new_ret_no_self, reason = "Apple's objects are counted")]
    pub fn new() -> Retained<Self> {
        Retained::new(Self)
    }
}

pub struct MTLArchitecture(pub(crate) &'static str);

impl MTLArchitecture {
    pub fn name(&self) -> Retained<NSString> {
        NSString::from_str(self.0)
    }
}

pub enum MTLCaptureDestination {
    GPUTraceDocument,
}

pub struct MTLCaptureDescriptor;

impl MTLCaptureDescriptor {
    #[allow(clippy::new_ret_no_self, reason = "Apple's objects are counted")]
    pub fn new() -> Retained<Self> {
        Retained::new(Self)
    }
    pub fn setDestination(&self, _: MTLCaptureDestination) {}
    pub fn set_capture_device(&self, _: &ProtocolObject<dyn MTLDevice>) {}
    pub fn setOutputURL(&self, _: Option<&NSURL>) {}
}

pub struct MTLCaptureManager;

impl MTLCaptureManager {
    pub unsafe fn sharedCaptureManager() -> Retained<Self> {
        Retained::new(Self)
    }
    pub fn startCaptureWithDescriptor_error(
        &self,
        _: &MTLCaptureDescriptor,
    ) -> Result<(), Retained<NSError>> {
        Err(NSError::new("there is nothing to capture"))
    }
}
