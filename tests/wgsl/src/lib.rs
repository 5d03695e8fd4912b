//! The kernel of the LSTM, on the first Vulkan device there is.

use candle_core::{Device, Result, Tensor};
use wgpu::{
    BindGroupDescriptor, BindGroupEntry, Buffer, BufferDescriptor, BufferUsages, ComputePipeline,
    ComputePipelineDescriptor, DeviceDescriptor, InstanceDescriptor, MapMode, PollType, Queue,
    RequestAdapterOptions, include_wgsl,
    util::{BufferInitDescriptor, DeviceExt},
};

/// A device, and the kernel compiled for it.
pub struct Gpu {
    pub name: String,
    device: wgpu::Device,
    queue: Queue,
    lstm: ComputePipeline,
}

impl Gpu {
    /// With the limits that every WebGPU has.
    ///
    /// # Panics
    /// Where there is no device, or it does not take the kernel.
    pub fn open() -> Self {
        let instance = wgpu::Instance::new(InstanceDescriptor::new_without_display_handle());
        let adapter = instance.request_adapter(&RequestAdapterOptions::default());
        let adapter = pollster::block_on(adapter).expect("a Vulkan device");
        let device = adapter.request_device(&DeviceDescriptor::default());
        let (device, queue) = pollster::block_on(device).expect("a device with WebGPU's limits");
        let module = include_wgsl!("../../../crates/model/src/layers/lstm/lstm.wgsl");
        let module = device.create_shader_module(module);
        let lstm = device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        Self {
            name: adapter.get_info().name,
            device,
            queue,
            lstm,
        }
    }

    /// `shares` `[batch, frame, direction, hidden, 4]` and `recurrent` `[direction, hidden, hidden, 4]` to
    /// `[batch, frame, direction, hidden]`, all of f32.
    pub fn lstm(&self, shares: &Tensor, recurrent: &Tensor) -> Result<Tensor> {
        let (batch, frames, directions, hidden, _) = shares.dims5()?;
        let count = batch * frames * directions * hidden;
        let size = (4 * count) as u64;
        let buffer = |usage| BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        };
        let states = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let states = self.device.create_buffer(&buffer(states));
        let read = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let read = self.device.create_buffer(&buffer(read));
        let sizes = [frames, hidden].map(|size| (size as u32).to_le_bytes());
        let arguments = [
            self.buffer(&bytes(shares)?, BufferUsages::STORAGE),
            self.buffer(&bytes(recurrent)?, BufferUsages::STORAGE),
            states.clone(),
            self.buffer(sizes.as_flattened(), BufferUsages::UNIFORM),
        ];
        let entries: Vec<_> = (0..)
            .zip(&arguments)
            .map(|(binding, buffer)| BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let arguments = self.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &self.lstm.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&self.lstm);
            pass.set_bind_group(0, &arguments, &[]);
            pass.dispatch_workgroups(directions as u32, batch as u32, 1);
        }
        encoder.copy_buffer_to_buffer(&states, 0, &read, 0, size);
        self.queue.submit([encoder.finish()]);
        read.map_async(MapMode::Read, .., |mapped| {
            mapped.expect("memory that can be read")
        });
        let done = self.device.poll(PollType::wait_indefinitely());
        done.expect("a device that comes to an end");
        let view = read.get_mapped_range(..).expect("what was mapped");
        let (words, _) = view.as_chunks();
        let values = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        Tensor::from_vec(values, (batch, frames, directions, hidden), &Device::Cpu)
    }

    fn buffer(&self, contents: &[u8], usage: BufferUsages) -> Buffer {
        let label = None;
        self.device.create_buffer_init(&BufferInitDescriptor {
            label,
            contents,
            usage,
        })
    }
}

fn bytes(values: &Tensor) -> Result<Vec<u8>> {
    let values = values.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
}
