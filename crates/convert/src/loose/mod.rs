//! Tensors of files that name no network: state dicts of WeSpeaker and of fine-tuned segmentations, weights of ports to MLX.
//!
//! The network is recognised by the names of its tensors, below any prefix, and by their shapes. Names and layouts of other
//! projects become PyTorch's.

mod layouts;
mod names;
mod networks;
mod numbered;

use std::{borrow::Cow, collections::BTreeMap, io::Cursor, rc::Rc};

pub(crate) use layouts::{OnnxLstm, WrongShape};
use safetensors::SafeTensors;
use soundalike_network::{Architecture, Specifications};

use crate::{
    Conversion, Dtype, Npz, Origin, Source, WeightChange,
    archive::Archive,
    bundle::{Draft, Header, METADATA_KEY},
    error::{Error, ErrorKind},
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

/// Converts tensors of which the file does not say what they are. `None` if they are of no known network.
pub(crate) fn convert(
    tensors: Tensors<'_>,
    told: &Told,
    source: Source,
) -> Result<Option<Conversion>, ErrorKind> {
    let Some(found) = networks::recognise(names::of_pytorch(numbered::of_pytorch(tensors)), told)?
    else {
        return Ok(None);
    };
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
    assemble(&header, tensors).map(Some)
}

/// Makes a bundle of these tensors, which must match the header.
pub(crate) fn assemble(header: &Header, tensors: Tensors<'_>) -> Result<Conversion, ErrorKind> {
    let names = tensors.iter();
    header.check_tensors(names.map(|(name, tensor)| (&**name, tensor.dtype, &*tensor.shape)))?;
    let drafts = tensors.into_iter().map(|(name, tensor)| {
        let elements = tensor.elements;
        let draft = Draft::new(name, tensor.dtype, &tensor.shape, move || elements());
        (draft, tensor.origin)
    });
    Conversion::assemble(header, drafts.collect())
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
    let source = Source::new(file, SourceFormat::Safetensors, sha256([bytes]));
    let found = convert(tensors, told, source)?;
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
    let source = Source::new(file, SourceFormat::Npz, sha256([bytes]));
    convert(tensors, &Told::default(), source)
}
