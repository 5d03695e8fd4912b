//! Tensors of files that name no network: state dicts of WeSpeaker and of fine-tuned segmentations, weights of ports to MLX.
//!
//! The network is recognised by the names of its tensors, below any prefix, and by their shapes. Names and layouts of other
//! projects become PyTorch's.

mod names;
mod networks;

use std::{borrow::Cow, collections::BTreeMap, io::Cursor, rc::Rc};

use safetensors::SafeTensors;
use soundalike_network::{Architecture, Specifications};

use crate::{
    Conversion, Dtype, Npz, Origin, Source, WeightChange,
    archive::Archive,
    bundle::{Draft, Header, METADATA_KEY},
    error::{Error, ErrorKind},
    shape::row_major,
    source::{SourceFormat, sha256},
    told::Told,
};

/// A tensor of such a file.
#[derive(Clone)]
pub(crate) struct Loose<'a> {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Computes the elements, in row-major order.
    pub(crate) elements: Rc<dyn Fn() -> Cow<'a, [u8]> + 'a>,
    pub(crate) origin: Origin,
}

/// The tensors of such a file, by name.
pub(crate) type Tensors<'a> = BTreeMap<String, Loose<'a>>;

/// A recognised network, with PyTorch's names.
struct Recognised<'a> {
    architecture: Architecture,
    specifications: Option<Specifications>,
    tensors: Tensors<'a>,
    notes: Vec<String>,
}

impl<'a> Loose<'a> {
    /// The same tensor with its last axis as the second, if its shape then is `shape`.
    fn kernels_first(&self, shape: &[usize]) -> Option<Self> {
        let (&inputs, sizes) = self.shape.split_last()?;
        let (&outputs, kernel) = sizes.split_first()?;
        let moved = [&[outputs, inputs], kernel].concat();
        if kernel.is_empty() || moved != shape {
            return None;
        }
        let mut strides = vec![1; moved.len()];
        let mut step = inputs;
        for (size, stride) in kernel.iter().zip(&mut strides[2..]).rev() {
            (*stride, step) = (step, step * size);
        }
        strides[0] = step;
        let (elements, size) = (self.elements.clone(), self.dtype.size());
        Some(Self {
            dtype: self.dtype,
            shape: moved.clone(),
            elements: Rc::new(move || Cow::Owned(row_major(&elements(), size, &moved, &strides))),
            origin: self.origin.clone().changed(WeightChange::KernelFirst),
        })
    }
}

/// Converts tensors of which the file does not say what they are. `None` if they are of no known network. `format` and the
/// bytes of the file are recorded.
pub(crate) fn convert(
    tensors: Tensors<'_>,
    told: &Told,
    file: String,
    format: SourceFormat,
    bytes: &[u8],
) -> Result<Option<Conversion>, ErrorKind> {
    let Some(found) = networks::recognise(names::of_pytorch(tensors), told)? else {
        return Ok(None);
    };
    let source = Source::new(file, format, sha256([bytes]));
    let header = Header::new(
        found.architecture,
        found.specifications,
        source,
        found.notes,
    )?;
    let mut tensors = found.tensors;
    for spec in header.architecture.tensors() {
        if let Some(tensor) = tensors.get_mut(&spec.name)
            && tensor.shape != spec.shape
            && let Some(first) = tensor.kernels_first(&spec.shape)
        {
            *tensor = first;
        }
    }
    let names = tensors.iter();
    header.check_tensors(names.map(|(name, tensor)| (&**name, tensor.dtype, &*tensor.shape)))?;
    let drafts = tensors.into_iter().map(|(name, tensor)| {
        let elements = tensor.elements;
        let draft = Draft::new(name, tensor.dtype, &tensor.shape, move || elements());
        (draft, tensor.origin)
    });
    Conversion::assemble(&header, drafts.collect()).map(Some)
}

/// Whether this is a safetensors file that is no bundle.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    SafeTensors::read_metadata(bytes).is_ok_and(|(_, metadata)| {
        let keys = metadata.metadata().as_ref();
        !keys.is_some_and(|keys| keys.contains_key(METADATA_KEY))
    })
}

/// A safetensors file without our metadata. `told`: what the `config.json` beside it says.
pub(crate) fn of_safetensors(
    bytes: &[u8],
    told: &Told,
    file: String,
) -> Result<Conversion, ErrorKind> {
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(ErrorKind::Safetensors)?;
    let data = size_of::<u64>() + header;
    let mut tensors = Tensors::new();
    for (name, info) in metadata.tensors() {
        let dtype = Dtype::from_safetensors(info.dtype).ok_or_else(|| ErrorKind::ElementType {
            tensor: name.clone(),
            dtype: info.dtype.to_string(),
        })?;
        let (start, end) = info.data_offsets;
        // In range: checked by the library.
        let content = &bytes[data + start..data + end];
        let tensor = Loose {
            dtype,
            shape: info.shape.clone(),
            elements: Rc::new(move || Cow::Borrowed(content)),
            origin: Origin::Tensor {
                name: name.clone(),
                change: WeightChange::None,
            },
        };
        tensors.insert(name, tensor);
    }
    let found = convert(tensors, told, file, SourceFormat::Safetensors, bytes)?;
    found.ok_or(ErrorKind::NotABundle)
}

/// A numpy archive. `None` if it holds no known network.
pub(crate) fn of_npz(bytes: &[u8], file: String) -> Result<Option<Conversion>, ErrorKind> {
    let files = Archive::open(bytes)?.names();
    if !networks::is_known(files.iter().filter_map(|name| name.strip_suffix(".npy"))) {
        return Ok(None);
    }
    let mut npz = Npz::new(Cursor::new(bytes), &file).map_err(Error::into_kind)?;
    let headers = npz.entries().iter();
    let headers = headers.map(|entry| (entry.name().to_owned(), entry.dtype()));
    let headers: Vec<(String, Option<Dtype>)> = headers.collect();
    let mut tensors = Tensors::new();
    for (name, dtype) in headers {
        // Fewer bits are widened, exactly. Counters have no effect.
        let (dtype, shape, content): (_, _, Vec<u8>) = match dtype {
            Some(Dtype::F64) => {
                let array = npz.read::<f64>(&name).map_err(Error::into_kind)?;
                let bytes = array.values.into_iter().flat_map(f64::to_le_bytes);
                (Dtype::F64, array.shape, bytes.collect())
            }
            Some(dtype) if dtype.is_float() => {
                let array = npz.read::<f32>(&name).map_err(Error::into_kind)?;
                let bytes = array.values.into_iter().flat_map(f32::to_le_bytes);
                (Dtype::F32, array.shape, bytes.collect())
            }
            _ => continue,
        };
        let origin = Origin::Array {
            file: file.clone(),
            entry: format!("{name}.npy"),
        };
        let elements = Rc::new(move || Cow::Owned(content.clone()));
        let tensor = Loose {
            dtype,
            shape,
            elements,
            origin,
        };
        tensors.insert(name, tensor);
    }
    convert(tensors, &Told::default(), file, SourceFormat::Npz, bytes)
}
