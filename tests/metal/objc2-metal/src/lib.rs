//! As much of `objc2-metal` as candle uses, without a GPU: buffers are memory of zeros, a library is the declarations of
//! the kernels in its source, and a launch is written down, once it has what its kernel declares.
#![allow(
    non_snake_case,
    non_upper_case_globals,
    reason = "the names are Apple's"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "nothing here is unsafe but its signature"
)]

mod library;
mod types;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::c_void,
    mem,
    ptr::NonNull,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub use library::*;
use objc2::{rc::Retained, runtime::ProtocolObject};
use objc2_foundation::{NSError, NSRange, NSString};
pub use types::*;

type Object<P> = Retained<ProtocolObject<P>>;

/// Bytes that a threadgroup can share on Apple's GPUs.
const LARGEST_SHARED: usize = 32 << 10;

/// How often each kernel was launched.
static LAUNCHES: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

fn launch(kernel: &str) {
    let mut launches = LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner);
    *launches.entry(kernel.to_owned()).or_default() += 1;
}

/// How often each kernel was launched since this was asked last. Copies and fills by the GPU's own engine are called
/// `copy` and `fill`.
pub fn take_launches() -> BTreeMap<String, usize> {
    mem::take(&mut *LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner))
}

pub fn MTLCopyAllDevices() -> Vec<Object<dyn MTLDevice>> {
    vec![ProtocolObject::retained(())]
}

pub fn MTLCreateSystemDefaultDevice() -> Option<Object<dyn MTLDevice>> {
    Some(ProtocolObject::retained(()))
}

pub trait MTLDevice {
    fn registryID(&self) -> u64 {
        0
    }
    fn recommendedMaxWorkingSetSize(&self) -> u64 {
        u64::MAX
    }
    fn currentAllocatedSize(&self) -> usize {
        0
    }
    /// The smallest GPU of an M1.
    fn architecture(&self) -> Retained<MTLArchitecture> {
        Retained::new(MTLArchitecture("applegpu_g13g"))
    }
    fn newBufferWithLength_options(
        &self,
        length: usize,
        _: MTLResourceOptions,
    ) -> Option<Object<dyn MTLBuffer>> {
        Some(ProtocolObject::retained(Memory::zeros(length)))
    }
    unsafe fn newBufferWithBytes_length_options(
        &self,
        _: NonNull<c_void>,
        length: usize,
        options: MTLResourceOptions,
    ) -> Option<Object<dyn MTLBuffer>> {
        self.newBufferWithLength_options(length, options)
    }
    fn newLibraryWithSource_options_error(
        &self,
        source: &NSString,
        _: Option<&MTLCompileOptions>,
    ) -> Result<Object<dyn MTLLibrary>, Retained<NSError>> {
        let kernels = kernels(&source.to_string()).map_err(|error| NSError::new(&error))?;
        Ok(ProtocolObject::retained(kernels))
    }
    fn newComputePipelineStateWithFunction_error(
        &self,
        function: &ProtocolObject<dyn MTLFunction>,
    ) -> Result<Object<dyn MTLComputePipelineState>, Retained<NSError>> {
        Ok(ProtocolObject::retained(function.state::<Kernel>().clone()))
    }
    fn newCommandQueue(&self) -> Option<Object<dyn MTLCommandQueue>> {
        Some(ProtocolObject::retained(()))
    }
    fn newFence(&self) -> Option<Object<dyn MTLFence>> {
        Some(ProtocolObject::retained(()))
    }
    fn newResidencySetWithDescriptor_error(
        &self,
        _: &MTLResidencySetDescriptor,
    ) -> Result<Object<dyn MTLResidencySet>, Retained<NSError>> {
        Err(NSError::new("memory is always resident"))
    }
}

/// What is in a buffer: zeros, in words as large as any value.
struct Memory {
    words: Box<[u128]>,
    length: usize,
}

impl Memory {
    fn zeros(length: usize) -> Self {
        let words = vec![0; length.div_ceil(size_of::<u128>())].into();
        Self { words, length }
    }
}

pub trait MTLBuffer {
    fn contents(&self) -> NonNull<c_void>;
    fn length(&self) -> usize;
    fn didModifyRange(&self, _: NSRange) {}
}

impl MTLBuffer for ProtocolObject<dyn MTLBuffer> {
    fn contents(&self) -> NonNull<c_void> {
        NonNull::from(&*self.state::<Memory>().words).cast()
    }
    fn length(&self) -> usize {
        self.state::<Memory>().length
    }
}

pub trait MTLResource {
    fn setLabel(&self, _: Option<&NSString>) {}
}

pub trait MTLCommandQueue {
    fn device(&self) -> Object<dyn MTLDevice> {
        ProtocolObject::retained(())
    }
    fn commandBuffer(&self) -> Option<Object<dyn MTLCommandBuffer>> {
        Some(ProtocolObject::retained(AtomicBool::new(false)))
    }
    fn addResidencySet(&self, _: &ProtocolObject<dyn MTLResidencySet>) {}
}

pub trait MTLCommandBuffer {
    fn device(&self) -> Object<dyn MTLDevice> {
        ProtocolObject::retained(())
    }
    fn computeCommandEncoderWithDispatchType(
        &self,
        _: MTLDispatchType,
    ) -> Option<Object<dyn MTLComputeCommandEncoder>> {
        Some(ProtocolObject::retained(Mutex::new(Launch::default())))
    }
    fn blitCommandEncoder(&self) -> Option<Object<dyn MTLBlitCommandEncoder>> {
        Some(ProtocolObject::retained(()))
    }
    fn commit(&self);
    fn status(&self) -> MTLCommandBufferStatus;
    fn enqueue(&self) {}
    fn waitUntilCompleted(&self) {}
    fn setLabel(&self, _: Option<&NSString>) {}
    fn error(&self) -> Option<Retained<NSError>> {
        None
    }
    unsafe fn addCompletedHandler<B>(&self, _: *mut B)
    where
        Self: Sized,
    {
    }
}

impl MTLCommandBuffer for ProtocolObject<dyn MTLCommandBuffer> {
    fn commit(&self) {
        self.state::<AtomicBool>().store(true, Ordering::Release);
    }
    fn status(&self) -> MTLCommandBufferStatus {
        if self.state::<AtomicBool>().load(Ordering::Acquire) {
            MTLCommandBufferStatus::Completed
        } else {
            MTLCommandBufferStatus::NotEnqueued
        }
    }
}

pub trait MTLCommandEncoder {
    fn setLabel(&self, _: Option<&NSString>) {}
    fn endEncoding(&self) {}
}

pub trait MTLComputeCommandEncoder {
    fn setComputePipelineState(&self, _: &ProtocolObject<dyn MTLComputePipelineState>);
    fn dispatchThreads_threadsPerThreadgroup(&self, _: MTLSize, _: MTLSize);
    fn dispatchThreadgroups_threadsPerThreadgroup(&self, _: MTLSize, _: MTLSize);
    fn memoryBarrierWithScope(&self, _: MTLBarrierScope) {}
    fn waitForFence(&self, _: &ProtocolObject<dyn MTLFence>) {}
    fn updateFence(&self, _: &ProtocolObject<dyn MTLFence>) {}
    unsafe fn setThreadgroupMemoryLength_atIndex(&self, length: usize, index: usize);
    unsafe fn setBytes_length_atIndex(&self, _: NonNull<c_void>, _: usize, index: usize);
    unsafe fn setBuffer_offset_atIndex(
        &self,
        _: Option<&ProtocolObject<dyn MTLBuffer>>,
        _: usize,
        index: usize,
    );
}

/// What comes next.
#[derive(Default)]
struct Launch {
    kernel: Kernel,
    /// Where there are arguments for it.
    bound: BTreeSet<usize>,
    /// Bytes that a threadgroup shares.
    shared: BTreeMap<usize, usize>,
}

impl Launch {
    fn of(encoder: &ProtocolObject<dyn MTLComputeCommandEncoder>) -> MutexGuard<'_, Self> {
        let next: &Mutex<Self> = encoder.state();
        next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Arguments stay bound on a Mac; here each launch has to bring its own.
    fn go(&mut self) {
        let Kernel {
            name,
            buffers,
            shared,
        } = &self.kernel;
        let missing: Vec<_> = buffers.difference(&self.bound).collect();
        assert!(missing.is_empty(), "{name}: nothing in buffers {missing:?}");
        let found = self.shared.values().sum::<usize>();
        assert!(
            self.shared.len() >= *shared && found <= LARGEST_SHARED,
            "{name}: {found} bytes of shared memory in {} of {shared} arguments",
            self.shared.len()
        );
        launch(name);
        self.bound.clear();
        self.shared.clear();
    }
}

impl MTLComputeCommandEncoder for ProtocolObject<dyn MTLComputeCommandEncoder> {
    fn setComputePipelineState(&self, pipeline: &ProtocolObject<dyn MTLComputePipelineState>) {
        Launch::of(self).kernel = pipeline.state::<Kernel>().clone();
    }
    fn dispatchThreads_threadsPerThreadgroup(&self, _: MTLSize, _: MTLSize) {
        Launch::of(self).go();
    }
    fn dispatchThreadgroups_threadsPerThreadgroup(&self, _: MTLSize, _: MTLSize) {
        Launch::of(self).go();
    }
    unsafe fn setThreadgroupMemoryLength_atIndex(&self, length: usize, index: usize) {
        Launch::of(self).shared.insert(index, length);
    }
    unsafe fn setBytes_length_atIndex(&self, _: NonNull<c_void>, _: usize, index: usize) {
        Launch::of(self).bound.insert(index);
    }
    unsafe fn setBuffer_offset_atIndex(
        &self,
        buffer: Option<&ProtocolObject<dyn MTLBuffer>>,
        _: usize,
        index: usize,
    ) {
        if buffer.is_some() {
            Launch::of(self).bound.insert(index);
        }
    }
}

pub trait MTLBlitCommandEncoder {
    fn waitForFence(&self, _: &ProtocolObject<dyn MTLFence>) {}
    fn updateFence(&self, _: &ProtocolObject<dyn MTLFence>) {}
    unsafe fn copyFromBuffer_sourceOffset_toBuffer_destinationOffset_size(
        &self,
        _: &ProtocolObject<dyn MTLBuffer>,
        _: usize,
        _: &ProtocolObject<dyn MTLBuffer>,
        _: usize,
        _: usize,
    ) {
        launch("copy");
    }
    fn fillBuffer_range_value(&self, _: &ProtocolObject<dyn MTLBuffer>, _: NSRange, _: u8) {
        launch("fill");
    }
}

pub trait MTLComputePipelineState {
    fn maxTotalThreadsPerThreadgroup(&self) -> usize {
        1024
    }
}

pub trait MTLResidencySet {
    fn requestResidency(&self) {}
    fn addAllocation(&self, _: &ProtocolObject<dyn MTLAllocation>) {}
    fn removeAllocation(&self, _: &ProtocolObject<dyn MTLAllocation>) {}
    fn commit(&self) {}
}

pub trait MTLAllocation {}

pub trait MTLFence {}

impl MTLDevice for ProtocolObject<dyn MTLDevice> {}
impl MTLResource for ProtocolObject<dyn MTLBuffer> {}
impl MTLCommandQueue for ProtocolObject<dyn MTLCommandQueue> {}
impl MTLCommandEncoder for ProtocolObject<dyn MTLComputeCommandEncoder> {}
impl MTLCommandEncoder for ProtocolObject<dyn MTLBlitCommandEncoder> {}
impl MTLBlitCommandEncoder for ProtocolObject<dyn MTLBlitCommandEncoder> {}
impl MTLComputePipelineState for ProtocolObject<dyn MTLComputePipelineState> {}
impl MTLResidencySet for ProtocolObject<dyn MTLResidencySet> {}
