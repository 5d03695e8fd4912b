// One layer of an LSTM over whole sequences, in one launch: a workgroup for each direction (x) and sequence (y). Both are
// counted by the grid.
//
// Gates are in PyTorch's order i, f, g, o, and those of a unit lie together. Only +, *, / and fma compute: how exact exp
// and tanh are, and whether a large argument overflows, is up to each GPU.

struct Sizes {
    frames: u32,
    hidden: u32,
}

/// What the gates get from the input, biases included: [sequence, frame, direction, hidden].
@group(0) @binding(0) var<storage, read> shares: array<vec4<f32>>;
/// Recurrent weights: [direction, hidden, hidden], from the first unit to the second.
@group(0) @binding(1) var<storage, read> recurrent: array<vec4<f32>>;
/// [sequence, frame, direction, hidden].
@group(0) @binding(2) var<storage, read_write> states: array<f32>;
@group(0) @binding(3) var<uniform> sizes: Sizes;

const THREADS = 128u;
/// The most units there can be: what fits into 16 KiB, which every WebGPU has.
const UNITS = 1024u;

struct Memory {
    /// The state that a step reads, and the one it writes, in turn.
    state: array<array<f32, UNITS>, 2>,
    cell: array<f32, UNITS>,
}

var<workgroup> memory: Memory;

@compute @workgroup_size(THREADS)
fn lstm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let direction = group.x;
    let hidden = sizes.hidden;
    for (var unit = thread; unit < hidden; unit += THREADS) {
        memory.state[0][unit] = 0.0;
        memory.cell[unit] = 0.0;
    }
    for (var step = 0u; step < sizes.frames; step += 1u) {
        workgroupBarrier();
        let frame = select(step, sizes.frames - 1u - step, direction == 1u);
        let row = ((group.y * sizes.frames + frame) * groups.x + direction) * hidden;
        let before = step & 1u;
        for (var unit = thread; unit < hidden; unit += THREADS) {
            let gates = shares[row + unit] + product(before, direction * hidden * hidden + unit);
            let kept = sigmoid(gates.y) * memory.cell[unit];
            let cell = fma(sigmoid(gates.x), hyperbolic_tangent(gates.z), kept);
            let state = sigmoid(gates.w) * hyperbolic_tangent(cell);
            memory.cell[unit] = cell;
            memory.state[1u - before][unit] = state;
            states[row + unit] = state;
        }
    }
}

/// The state times the weights to one unit, of which the first is `weight`. In four sums, whose error is that of a
/// quarter of the terms.
fn product(before: u32, weight: u32) -> vec4<f32> {
    let hidden = sizes.hidden;
    let whole = hidden & ~3u;
    var sums = array<vec4<f32>, 4>();
    for (var k = 0u; k < whole; k += 4u) {
        let w = weight + k * hidden;
        sums[0] = multiply_add(memory.state[before][k], recurrent[w], sums[0]);
        sums[1] = multiply_add(memory.state[before][k + 1u], recurrent[w + hidden], sums[1]);
        sums[2] = multiply_add(memory.state[before][k + 2u], recurrent[w + 2u * hidden], sums[2]);
        sums[3] = multiply_add(memory.state[before][k + 3u], recurrent[w + 3u * hidden], sums[3]);
    }
    for (var k = whole; k < hidden; k += 1u) {
        sums[0] = multiply_add(memory.state[before][k], recurrent[weight + k * hidden], sums[0]);
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

fn multiply_add(state: f32, weights: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return fma(vec4(state), weights, sum);
}

// The rest is crates/kernels/src/activation.rs, which says where it is from.

const LARGEST = 88.0;
const LOG2_E = 1.442695;
const LN_2 = vec2(0.6933594, -2.1219444e-4);

/// e^x, for x beyond ±88 that of ±88. NaN for NaN.
fn exponential(x: f32) -> f32 {
    var r = select(x, -LARGEST, x < -LARGEST);
    r = select(r, LARGEST, r > LARGEST);
    let power = round(r * LOG2_E);
    r = fma(power, -LN_2.x, r);
    r = fma(power, -LN_2.y, r);
    var tail = 1.9875691e-4;
    tail = fma(tail, r, 1.3981999e-3);
    tail = fma(tail, r, 8.333452e-3);
    tail = fma(tail, r, 4.1665796e-2);
    tail = fma(tail, r, 0.16666665);
    tail = fma(tail, r, 0.5);
    // 2^power: its exponent, plus that of 1.
    let scale = bitcast<f32>((i32(power) + 127) << 23u);
    return (fma(tail, r * r, r) + 1.0) * scale;
}

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exponential(-x));
}

fn hyperbolic_tangent(x: f32) -> f32 {
    let square = x * x;
    var small = -5.7049887e-3;
    small = fma(small, square, 2.063909e-2);
    small = fma(small, square, -5.3739716e-2);
    small = fma(small, square, 0.13331442);
    small = fma(small, square, -0.3333328);
    small = fma(small, square * x, x);
    let large = 1.0 - 2.0 / (exponential(2.0 * abs(x)) + 1.0);
    return select(select(large, -large, x < 0.0), small, abs(x) < 0.625);
}
