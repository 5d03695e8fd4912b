//! Weights that an export computes from stored ones by moving their elements: slices, concatenations, reshapes,
//! transposes. Exporters reorder the gates of LSTMs so.

use std::borrow::Cow;

use super::{
    OnnxError,
    graph::{Graph, Initializer, MAX_DIMENSIONS, Node},
};
use crate::shape::{len_of, row_major};

/// Most bytes of all computed weights, in multiples of the file's.
const MAX_GROWTH: usize = 4;
/// Most bytes that are read for them, in the same unit: PyTorch's exporter reads an LSTM seven times.
const MAX_READ: usize = 16;

/// What may still be computed.
struct Budget {
    /// Bytes of weights.
    stored: usize,
    /// Bytes that are read for them.
    read: usize,
}

impl Budget {
    /// Takes what reading these elements costs. `None` if that is too much.
    fn read(&mut self, tensor: &Initializer<'_>) -> Option<()> {
        self.read = self.read.checked_sub(tensor.data.len())?;
        Some(())
    }
}

impl<'a> Graph<'a> {
    /// Stores the results of all nodes that only move elements of stored tensors. `bytes`: the size of the file.
    pub(super) fn store_moved(&mut self, bytes: usize) -> Result<(), OnnxError> {
        let mut budget = Budget {
            stored: bytes.saturating_mul(MAX_GROWTH),
            read: bytes.saturating_mul(MAX_READ),
        };
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let [name] = node.outputs[..] else {
                continue;
            };
            let Some(moved) = self.moved(node, name, &mut budget) else {
                continue;
            };
            budget.stored -= moved.data.len();
            self.store(moved)?;
        }
        Ok(())
    }

    /// The result of a node, if its inputs are stored and it only moves their elements.
    fn moved(
        &self,
        node: &Node<'a>,
        name: &'a str,
        budget: &mut Budget,
    ) -> Option<Initializer<'a>> {
        let stored = |input: usize| {
            let name = node.inputs.get(input)?;
            let tensor = self.initializers.get(name)?;
            let whole = !tensor.shape.contains(&0) && tensor.elements().is_ok();
            whole.then_some(tensor)
        };
        let numbers = |attribute: &str, input: usize| {
            let found = node.ints(attribute).ok()?;
            match found.is_empty() {
                true => stored(input)?.numbers(),
                false => (found.len() <= MAX_DIMENSIONS).then_some(found),
            }
        };
        let tensor = stored(0)?;
        let result = match node.op {
            "Concat" => {
                let axis = node.int("axis").ok()??;
                let parts: Option<Vec<_>> = (0..node.inputs.len()).map(stored).collect();
                let parts = parts?;
                parts.iter().try_for_each(|part| budget.read(part))?;
                concatenated(&parts, axis, budget.stored)?
            }
            _ if tensor.data.len() > budget.stored => return None,
            "Identity" => tensor.clone(),
            "Unsqueeze" | "Squeeze" | "Reshape" => {
                let shape = match node.op {
                    "Unsqueeze" => unsqueezed(&tensor.shape, &numbers("axes", 1)?)?,
                    "Squeeze" => squeezed(&tensor.shape, numbers("axes", 1).as_deref())?,
                    _ => reshaped(&tensor.shape, &numbers("shape", 1)?)?,
                };
                Initializer {
                    shape,
                    ..tensor.clone()
                }
            }
            "Transpose" => {
                let axes = node.ints("perm").ok()?;
                budget.read(tensor)?;
                transposed(tensor, &axes)?
            }
            "Slice" => {
                let (starts, ends) = (numbers("starts", 1)?, numbers("ends", 2)?);
                let axes = numbers("axes", 3);
                let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
                let steps = stored(4).and_then(Initializer::numbers);
                let one_by_one = steps.is_none_or(|steps| steps.iter().all(|&step| step == 1));
                if !one_by_one || starts.len() != axes.len() || ends.len() != axes.len() {
                    return None;
                }
                let mut part = tensor.clone();
                for ((start, end), axis) in starts.into_iter().zip(ends).zip(axes) {
                    budget.read(&part)?;
                    part = sliced(&part, axis, start, end)?;
                }
                part
            }
            _ => return None,
        };
        (result.shape.len() <= MAX_DIMENSIONS).then_some(Initializer { name, ..result })
    }
}

/// An axis of so many, counted from the end if it is negative.
fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

fn unsqueezed(shape: &[usize], axes: &[i64]) -> Option<Vec<usize>> {
    let rank = shape.len() + axes.len();
    let axes: Option<Vec<_>> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
    let (axes, mut rest) = (axes?, shape.iter());
    let sizes = (0..rank).map(|axis| match axes.contains(&axis) {
        true => Some(1),
        false => rest.next().copied(),
    });
    sizes.collect()
}

fn squeezed(shape: &[usize], axes: Option<&[i64]>) -> Option<Vec<usize>> {
    let axes: Option<Vec<_>> = axes
        .map(|axes| {
            axes.iter()
                .map(|&axis| axis_of(axis, shape.len()))
                .collect()
        })
        .unwrap_or_else(|| Some((0..shape.len()).filter(|&axis| shape[axis] == 1).collect()));
    let axes = axes?;
    let kept = shape
        .iter()
        .enumerate()
        .filter(|(axis, _)| !axes.contains(axis));
    axes.iter()
        .all(|&axis| shape[axis] == 1)
        .then(|| kept.map(|(_, &size)| size).collect())
}

fn reshaped(shape: &[usize], wanted: &[i64]) -> Option<Vec<usize>> {
    let len = len_of(shape);
    let mut sizes = Vec::with_capacity(wanted.len());
    for (axis, &size) in wanted.iter().enumerate() {
        sizes.push(match size {
            // As many as before; as many as are left.
            0 => *shape.get(axis)?,
            -1 => usize::MAX,
            size => usize::try_from(size).ok()?,
        });
    }
    let mut known = sizes.iter().filter(|&&size| size != usize::MAX);
    let known = known.try_fold(1, |all: usize, &size| all.checked_mul(size))?;
    let open = sizes.iter_mut().filter(|size| **size == usize::MAX);
    let mut open: Vec<_> = open.collect();
    match &mut open[..] {
        [] => (known == len).then_some(sizes),
        [size] if known > 0 && len.is_multiple_of(known) => {
            **size = len / known;
            Some(sizes)
        }
        _ => None,
    }
}

fn transposed<'a>(tensor: &Initializer<'a>, axes: &[i64]) -> Option<Initializer<'a>> {
    let rank = tensor.shape.len();
    let axes: Vec<usize> = match axes {
        [] => (0..rank).rev().collect(),
        axes => axes
            .iter()
            .map(|&axis| axis_of(axis, rank))
            .collect::<Option<_>>()?,
    };
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return None;
    }
    let stride = |axis: usize| len_of(&tensor.shape[axis + 1..]);
    let shape: Vec<_> = axes.iter().map(|&axis| tensor.shape[axis]).collect();
    let strides: Vec<_> = axes.iter().map(|&axis| stride(axis)).collect();
    let data = row_major(&tensor.data, tensor.dtype.size(), &shape, &strides);
    Some(Initializer {
        shape,
        data: Cow::Owned(data),
        ..tensor.clone()
    })
}

fn sliced<'a>(
    tensor: &Initializer<'a>,
    axis: i64,
    start: i64,
    end: i64,
) -> Option<Initializer<'a>> {
    let axis = axis_of(axis, tensor.shape.len())?;
    let size = tensor.shape[axis];
    let within = |at: i64| {
        let at = if at < 0 {
            at.saturating_add(size as i64)
        } else {
            at
        };
        at.clamp(0, size as i64) as usize
    };
    let (start, end) = (within(start), within(end));
    let kept = end.checked_sub(start)?;
    let row = len_of(&tensor.shape[axis + 1..]) * tensor.dtype.size();
    let blocks = tensor.data.chunks((row * size).max(1));
    let data: Vec<u8> = blocks
        .flat_map(|block| &block[start * row..end * row])
        .copied()
        .collect();
    let mut shape = tensor.shape.clone();
    shape[axis] = kept;
    Some(Initializer {
        shape,
        data: Cow::Owned(data),
        ..tensor.clone()
    })
}

fn concatenated<'a>(
    parts: &[&Initializer<'a>],
    axis: i64,
    budget: usize,
) -> Option<Initializer<'a>> {
    let first = parts.first()?;
    let axis = axis_of(axis, first.shape.len())?;
    let fits = parts.iter().all(|part| {
        part.dtype == first.dtype
            && part.shape.len() == first.shape.len()
            && (0..first.shape.len()).all(|at| at == axis || part.shape[at] == first.shape[at])
    });
    let bytes = parts.iter().map(|part| part.data.len()).sum::<usize>();
    if !fits || bytes > budget {
        return None;
    }
    let block = |part: &Initializer<'_>| len_of(&part.shape[axis..]) * part.dtype.size();
    let mut data = Vec::with_capacity(bytes);
    for index in 0..len_of(&first.shape[..axis]) {
        for part in parts {
            data.extend_from_slice(&part.data[index * block(part)..][..block(part)]);
        }
    }
    let mut shape = first.shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    Some(Initializer {
        shape,
        data: Cow::Owned(data),
        ..(*first).clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;

    fn counted(shape: &[usize]) -> Initializer<'static> {
        let data = (0..len_of(shape)).map(|value| value as u8).collect();
        Initializer {
            name: "counted",
            dtype: Dtype::U8,
            shape: shape.to_vec(),
            data: Cow::Owned(data),
        }
    }

    fn found(tensor: Option<Initializer<'_>>) -> Option<(Vec<usize>, Vec<u8>)> {
        tensor.map(|tensor| (tensor.shape, tensor.data.into_owned()))
    }

    /// As numpy moves `arange(12).reshape(3, 4)` and `arange(6).reshape(1, 2, 3)`.
    #[test]
    fn elements_move_as_in_numpy() {
        let matrix = counted(&[3, 4]);
        let slice = |axis, start, end| found(sliced(&matrix, axis, start, end));
        assert_eq!(slice(0, 1, 3), Some((vec![2, 4], (4..12).collect())));
        assert_eq!(
            slice(-1, -3, -1),
            Some((vec![3, 2], vec![1, 2, 5, 6, 9, 10]))
        );
        assert_eq!(slice(1, 3, i64::MAX), Some((vec![3, 1], vec![3, 7, 11])));
        assert_eq!(slice(0, 2, 1), None);
        assert_eq!(slice(2, 0, 1), None);

        let block = counted(&[1, 2, 3]);
        let all = |axes: &[i64]| found(transposed(&block, axes));
        let exchanged = (vec![3, 2, 1], vec![0, 3, 1, 4, 2, 5]);
        assert_eq!(all(&[]), Some(exchanged.clone()));
        assert_eq!(all(&[2, 1, 0]), Some(exchanged));
        assert_eq!(
            all(&[0, 2, 1]),
            Some((vec![1, 3, 2], vec![0, 3, 1, 4, 2, 5]))
        );
        assert_eq!(all(&[0, 0, 1]), None);
        assert_eq!(all(&[0, 1]), None);

        let two = [&counted(&[2, 1]), &counted(&[2, 2])];
        let joined = |axis, budget| found(concatenated(&two, axis, budget));
        assert_eq!(joined(1, 6), Some((vec![2, 3], vec![0, 0, 1, 1, 2, 3])));
        assert_eq!(joined(0, 6), None);
        assert_eq!(joined(1, 5), None);
    }

    #[test]
    fn shapes_change_as_in_onnx() {
        assert_eq!(reshaped(&[2, 3], &[0, -1, 1]), Some(vec![2, 3, 1]));
        assert_eq!(reshaped(&[2, 3], &[6]), Some(vec![6]));
        for wrong in [&[5][..], &[-1, -1], &[4, -1], &[-2], &[0, 0, 0]] {
            assert_eq!(reshaped(&[2, 3], wrong), None, "{wrong:?}");
        }
        assert_eq!(unsqueezed(&[2, 3], &[0, -1]), Some(vec![1, 2, 3, 1]));
        assert_eq!(unsqueezed(&[2], &[5]), None);
        assert_eq!(squeezed(&[1, 2, 1], Some(&[-1])), Some(vec![1, 2]));
        assert_eq!(squeezed(&[1, 2, 1], None), Some(vec![2]));
        assert_eq!(squeezed(&[1, 2, 1], Some(&[1])), None);
    }
}
