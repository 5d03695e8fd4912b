//! Runs the kernel of the LSTM on the first Vulkan device there is. From stdin, in the order of the bytes of this machine:
//! batch, frames, directions and hidden units (u32), what the gates get from the input and the recurrent weights (f32, in the
//! layouts of the kernel). To stdout: the states.

use std::io::{Read, Write, stdin, stdout};

use wgpu::{
    BindGroupDescriptor, BindGroupEntry, BufferDescriptor, BufferUsages, ComputePipelineDescriptor,
    DeviceDescriptor, InstanceDescriptor, MapMode, PollType, RequestAdapterOptions, include_wgsl,
    util::{BufferInitDescriptor, DeviceExt},
};

/// Bytes of a number, and of the four gates of a unit.
const NUMBER: usize = 4;
const GATES: usize = 4 * NUMBER;

fn main() {
    let mut input = Vec::new();
    stdin().read_to_end(&mut input).expect("input");
    let (sizes, values) = input.split_at(4 * NUMBER);
    let (sizes, _) = sizes.as_chunks();
    let [batch, frames, directions, hidden] = [0, 1, 2, 3].map(|i| u32::from_ne_bytes(sizes[i]));
    let states = (batch * frames * directions * hidden) as usize;
    let recurrent = (directions * hidden * hidden) as usize;
    assert_eq!(
        values.len(),
        (states + recurrent) * GATES,
        "bytes of values"
    );
    let (shares, recurrent) = values.split_at(states * GATES);

    // With the limits that every WebGPU has.
    let instance = wgpu::Instance::new(InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&RequestAdapterOptions::default());
    let adapter = pollster::block_on(adapter).expect("a Vulkan device");
    eprintln!("on {}", adapter.get_info().name);
    let device = adapter.request_device(&DeviceDescriptor::default());
    let (device, queue) = pollster::block_on(device).expect("a device with WebGPU's limits");
    let module = include_wgsl!("../../../crates/model/src/layers/lstm/lstm.wgsl");
    let module = device.create_shader_module(module);
    let kernel = device.create_compute_pipeline(&ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });

    let size = (states * NUMBER) as u64;
    let empty = |usage| {
        device.create_buffer(&BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    };
    let filled = |contents, usage| {
        device.create_buffer_init(&BufferInitDescriptor {
            label: None,
            contents,
            usage,
        })
    };
    let output = empty(BufferUsages::STORAGE | BufferUsages::COPY_SRC);
    let read = empty(BufferUsages::MAP_READ | BufferUsages::COPY_DST);
    let arguments = [
        filled(shares, BufferUsages::STORAGE),
        filled(recurrent, BufferUsages::STORAGE),
        output.clone(),
        filled([sizes[1], sizes[3]].as_flattened(), BufferUsages::UNIFORM),
    ];
    let entries = (0..)
        .zip(&arguments)
        .map(|(binding, buffer)| BindGroupEntry {
            binding,
            resource: buffer.as_entire_binding(),
        });
    let arguments = device.create_bind_group(&BindGroupDescriptor {
        label: None,
        layout: &kernel.get_bind_group_layout(0),
        entries: &entries.collect::<Vec<_>>(),
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&kernel);
        pass.set_bind_group(0, &arguments, &[]);
        pass.dispatch_workgroups(directions, batch, 1);
    }
    encoder.copy_buffer_to_buffer(&output, 0, &read, 0, size);
    queue.submit([encoder.finish()]);
    read.map_async(MapMode::Read, .., |mapped| {
        mapped.expect("memory that can be read")
    });
    let done = device.poll(PollType::wait_indefinitely());
    done.expect("a device that comes to an end");
    let states = read.get_mapped_range(..).expect("what was mapped");
    stdout().write_all(&states).expect("output");
}
