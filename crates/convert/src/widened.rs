//! A bundle with weights in integers, which are widened to `f32` when it is read.

use std::{borrow::Cow, collections::BTreeMap};

use safetensors::tensor::TensorInfo;
use soundalike_network::TensorSpec;

use crate::{
    Dtype, Integers,
    bundle::{BUNDLE_FORMAT, CONTAINER, Draft, Header, INTEGER_FORMAT},
    container::Container,
    error::ErrorKind,
    integers::SCALE,
};

/// The file of a bundle with integers.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    bytes: Cow<'static, [u8]>,
    /// The first byte of each tensor, and its integers, if it has any.
    tensors: BTreeMap<String, (usize, Option<Integers>)>,
}

impl Stored {
    /// The same bundle without integers, as bytes, and its file. Tensors that the network lacks are passed on, to be refused
    /// with all others; shapes of integers and scales are checked before anything is widened.
    pub(crate) fn widen(bytes: Cow<'static, [u8]>) -> Result<(Vec<u8>, Self), ErrorKind> {
        let container = Container {
            format: INTEGER_FORMAT,
            ..CONTAINER
        };
        let (mut header, metadata, data): (Header, _, _) = container.read(&bytes)?;
        header.check()?;
        let weights = header.architecture.tensors().into_iter();
        let weights: BTreeMap<_, _> = weights.map(|spec| (spec.name.clone(), spec)).collect();
        let entries = metadata.tensors();
        let content = |info: &TensorInfo| {
            let (start, end) = info.data_offsets;
            // In range: checked by the library.
            &bytes[data + start..data + end]
        };
        let scales_of = |name: &str| entries.get(&format!("{name}{SCALE}")).copied();
        let is_scale = |name: &str| {
            let weight = name.strip_suffix(SCALE).and_then(|name| entries.get(name));
            weight.is_some_and(|info| of(info).is_some())
        };
        let mut drafts = Vec::new();
        let mut tensors = BTreeMap::new();
        for (name, &info) in &entries {
            if is_scale(name) {
                continue;
            }
            let found = of(info).zip(scales_of(name)).zip(weights.get(name));
            let draft = match found {
                Some(((integers, scales), weight)) => {
                    check(integers, weight, info, scales)?;
                    let (info, scales) = (content(info), content(scales));
                    let shape = weight.shape.clone();
                    Draft::new(name, Dtype::F32, &weight.shape, move || {
                        let values = integers.widen(info, scales, &shape).into_iter();
                        Cow::Owned(values.flat_map(f32::to_le_bytes).collect())
                    })
                }
                None => {
                    let dtype = Dtype::from_safetensors(info.dtype);
                    let dtype = dtype.ok_or_else(|| ErrorKind::ElementType {
                        tensor: name.clone(),
                        dtype: info.dtype.to_string(),
                    })?;
                    let content = content(info);
                    Draft::new(name, dtype, &info.shape, move || Cow::Borrowed(content))
                }
            };
            let place = data + info.data_offsets.0;
            tensors.insert(
                name.clone(),
                (place, found.map(|((integers, _), _)| integers)),
            );
            drafts.push(draft);
        }
        header.format = BUNDLE_FORMAT;
        let views = drafts.iter().map(|draft| (&draft.name, draft));
        let wide = CONTAINER.write(&header, views)?;
        drop(drafts);
        Ok((wide, Self { bytes, tensors }))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The integers of a tensor.
    pub(crate) fn integers(&self, name: &str) -> Option<Integers> {
        self.tensors.get(name)?.1
    }

    /// The first byte of a tensor.
    pub(crate) fn offset(&self, name: &str) -> usize {
        self.tensors.get(name).map_or(0, |(offset, _)| *offset)
    }
}

/// The integers that a stored tensor may hold.
fn of(info: &TensorInfo) -> Option<Integers> {
    Integers::of(Dtype::from_safetensors(info.dtype)?)
}

/// Compares the shapes of integers and scales with that of their weight.
fn check(
    integers: Integers,
    weight: &TensorSpec,
    stored: &TensorInfo,
    scales: &TensorInfo,
) -> Result<(), ErrorKind> {
    let wrong = |suffix: &str, found: &TensorInfo, expected: String| ErrorKind::Integers {
        tensor: format!("{}{suffix}", weight.name),
        found: format!("{} {:?}", found.dtype, found.shape),
        expected,
        integers,
    };
    if !Integers::suit(&weight.shape) {
        return Err(wrong("", stored, format!("floats {:?}", weight.shape)));
    }
    let shape = integers.shape(&weight.shape);
    if stored.shape != shape {
        return Err(wrong("", stored, format!("{} {shape:?}", stored.dtype)));
    }
    let shape = integers.scales(&weight.shape);
    if scales.dtype != safetensors::Dtype::F16 || scales.shape != shape {
        return Err(wrong(SCALE, scales, format!("F16 {shape:?}")));
    }
    Ok(())
}
