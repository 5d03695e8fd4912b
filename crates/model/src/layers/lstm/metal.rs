//! A kernel written in WGSL, on Metal.

use candle_core::{
    DType, Error, Layout, MetalDevice, MetalStorage, Result, backend::BackendStorage,
};
use candle_metal_kernels::metal::ComputePipeline;
use naga::{
    AddressSpace, ResourceBinding,
    back::msl::{self, BindTarget, EntryPointResources},
    front::wgsl,
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
    valid::{Capabilities, ValidationFlags, Validator},
};
use objc2_metal::{MTLCompileOptions, MTLSize};

/// Where a kernel has its arguments, which are all of group 0: two arrays to read, one to write, and two sizes.
const INPUTS: [u8; 2] = [0, 1];
const OUTPUT: u8 = 2;
const SIZES: u8 = 3;
/// Where naga puts the lengths of the arrays, which it passes on whether or not anything looks at them.
const LENGTHS: u8 = 4;

/// A compute kernel with these arguments.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    device: MetalDevice,
    pipeline: ComputePipeline,
    translated: Translated,
}

impl Pipeline {
    /// Compiles the one kernel in `source`.
    pub(super) fn new(device: &MetalDevice, source: &str) -> Result<Self> {
        let (translated, source) = Translated::from_wgsl(source)?;
        let options = MTLCompileOptions::new();
        // Sums are taken in the order written, by divisions and products that round as IEEE says. The newer name for
        // it is not there before macOS 15.
        #[allow(deprecated, reason = "as candle does it for these systems")]
        options.setFastMathEnabled(false);
        let gpu = device.metal_device();
        let compile = || {
            let library = gpu.new_library_with_source(&source, Some(&options))?;
            let function = library.get_function(&translated.name, None)?;
            gpu.new_compute_pipeline_state_with_function(&function)
        };
        let pipeline = compile().map_err(Error::wrap)?;
        let (wanted, most) = (
            translated.threads.iter().product::<usize>(),
            pipeline.max_total_threads_per_threadgroup(),
        );
        if wanted > most {
            candle_core::bail!(
                "{}: has {wanted} threads, and this GPU runs {most} of it",
                translated.name
            );
        }
        Ok(Self {
            pipeline,
            device: device.clone(),
            translated,
        })
    }

    /// Runs `groups` workgroups, which make `count` values.
    pub(super) fn launch(
        &self,
        inputs: [(&MetalStorage, &Layout); 2],
        sizes: [usize; 2],
        groups: [usize; 2],
        count: usize,
    ) -> Result<MetalStorage> {
        let output = self.device.new_buffer(count, DType::F32, "kernel")?;
        let bytes = |count: usize| u32::try_from(count * DType::F32.size_in_bytes());
        let [first, second] = inputs.map(|(_, layout)| bytes(layout.shape().elem_count()));
        let lengths = [
            first.map_err(Error::wrap)?,
            second.map_err(Error::wrap)?,
            bytes(count).map_err(Error::wrap)?,
        ];
        // None is larger than an array.
        let sizes = sizes.map(|size| size as u32);
        let encoder = self.device.command_encoder()?;
        let encoder = encoder.as_ref();
        encoder.set_compute_pipeline_state(&self.pipeline);
        for (slot, (storage, layout)) in INPUTS.into_iter().zip(inputs) {
            let offset = layout.start_offset() * storage.dtype().size_in_bytes();
            encoder.set_input_buffer(slot.into(), Some(storage.buffer()), offset);
        }
        encoder.set_output_buffer(OUTPUT.into(), Some(&output), 0);
        encoder.set_bytes(SIZES.into(), &sizes);
        encoder.set_bytes(LENGTHS.into(), &lengths);
        for (index, length) in self.translated.memory.iter().enumerate() {
            encoder.set_threadgroup_memory_length(index, *length);
        }
        let size = |[width, height, depth]: [usize; 3]| MTLSize {
            width,
            height,
            depth,
        };
        let [x, y] = groups;
        encoder.dispatch_thread_groups(size([x, y, 1]), size(self.translated.threads));
        Ok(MetalStorage::new(
            output,
            self.device.clone(),
            count,
            DType::F32,
        ))
    }
}

/// What Metal's source does not say of a kernel.
#[derive(Debug, Clone)]
struct Translated {
    name: String,
    /// Of a workgroup.
    threads: [usize; 3],
    /// Bytes of each variable that a workgroup shares, which Metal counts by themselves.
    memory: Vec<usize>,
}

impl Translated {
    /// The one kernel in `source`, and it in Metal's language.
    fn from_wgsl(source: &str) -> Result<(Self, String)> {
        let module = wgsl::parse_str(source).map_err(Error::wrap)?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
        let info = validator.validate(&module).map_err(Error::wrap)?;
        let [kernel] = module.entry_points.as_slice() else {
            candle_core::bail!(
                "a source has one kernel, and here are {}",
                module.entry_points.len()
            );
        };
        let variables = || module.global_variables.iter().map(|(_, variable)| variable);
        let bindings = variables().filter_map(|variable| variable.binding);
        let slot = |binding: ResourceBinding| {
            let target = BindTarget {
                buffer: u8::try_from(binding.binding).ok(),
                mutable: true,
                ..BindTarget::default()
            };
            (binding, target)
        };
        let resources = EntryPointResources {
            resources: bindings.map(slot).collect(),
            sizes_buffer: Some(LENGTHS),
            ..EntryPointResources::default()
        };
        let options = msl::Options {
            lang_version: (2, 0),
            per_entry_point_map: [(kernel.name.clone(), resources)].into(),
            fake_missing_bindings: false,
            // The sizes are checked before a launch.
            bounds_check_policies: BoundsCheckPolicies {
                index: BoundsCheckPolicy::Unchecked,
                buffer: BoundsCheckPolicy::Unchecked,
                image_load: BoundsCheckPolicy::Unchecked,
                binding_array: BoundsCheckPolicy::Unchecked,
            },
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: false,
            ..msl::Options::default()
        };
        let (source, translation) =
            msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
                .map_err(Error::wrap)?;
        let name = match translation.entry_point_names.as_slice() {
            [Ok(name)] => name.clone(),
            _ => candle_core::bail!("{:?}", translation.entry_point_names),
        };
        let shared = variables().filter(|variable| variable.space == AddressSpace::WorkGroup);
        let bytes =
            shared.map(|variable| module.types[variable.ty].inner.size(module.to_ctx()) as usize);
        let translated = Self {
            name,
            threads: kernel.workgroup_size.map(|threads| threads as usize),
            // In steps of what Metal aligns it to.
            memory: bytes.map(|bytes| bytes.next_multiple_of(16)).collect(),
        };
        Ok((translated, source))
    }
}
