//! The bundle: a complete, checked network in one safetensors file with one metadata key.

use std::{borrow::Cow, collections::BTreeMap, path::Path, sync::OnceLock};

use safetensors::{SafeTensors, tensor::View};
use serde::{Deserialize, Serialize};

use soundalike_network::{Architecture, Output, Role, Specifications, TensorSpec};

use crate::{
    Dtype, Integers, Origin, Source,
    container::{Container, ContainerError},
    error::{Error, ErrorKind, Found, NotFinite},
    files,
    source::sha256,
    widened::Stored,
};

/// The only key in the safetensors metadata.
pub const METADATA_KEY: &str = "soundalike";

/// Version of the layout. A file with another version is refused.
pub const BUNDLE_FORMAT: u32 = 1;

/// Version of the layout of a bundle with weights in [`Integers`], which older versions of this program cannot read.
pub const INTEGER_FORMAT: u32 = 2;

/// The container of bundles.
pub(crate) const CONTAINER: Container = Container {
    key: METADATA_KEY,
    format: BUNDLE_FORMAT,
};

impl From<ContainerError> for ErrorKind {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Safetensors(reason) => Self::Safetensors(reason),
            ContainerError::MissingKey => Self::NotABundle,
            ContainerError::Format(found) => Self::BundleFormat(found),
            ContainerError::Header(source) => Self::Metadata(source),
        }
    }
}

/// The value of the metadata key: JSON with the keys in this order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: u32,
    #[serde(flatten)]
    pub(crate) architecture: Architecture,
    pub(crate) specifications: Option<Specifications>,
    pub(crate) source: Source,
    pub(crate) notes: Vec<String>,
}

impl Header {
    /// A header with checked values. Tensors are checked by [`Self::check_tensors`].
    pub(crate) fn new(
        architecture: Architecture,
        specifications: Option<Specifications>,
        source: Source,
        notes: Vec<String>,
    ) -> Result<Self, ErrorKind> {
        let header = Self {
            format: BUNDLE_FORMAT,
            architecture,
            specifications,
            source,
            notes,
        };
        header.check()?;
        Ok(header)
    }

    /// Checks everything except the tensors.
    pub(crate) fn check(&self) -> Result<(), ErrorKind> {
        let wrong = |field, found, expected| ErrorKind::Specification {
            field,
            found,
            expected,
        };
        let specifications = self.specifications.as_ref();
        let problem = specifications.and_then(Specifications::problem_with_values);
        if let Some((field, found, expected)) = problem {
            return Err(wrong(field, found, expected.into()));
        }
        self.architecture.check()?;
        if let Some(specifications) = specifications
            && let Output::Scores { scores, .. } = self.architecture.output()
            && specifications.num_outputs() != Some(scores)
        {
            let (classes, most) = (&specifications.classes, specifications.powerset_max_classes);
            let found = format!("{} classes, at most {most:?} at once", classes.len());
            let expected = format!("the {scores} outputs of the classifier");
            return Err(wrong("classes", found, expected));
        }
        Ok(())
    }

    /// Compares the tensors of a file with those of the architecture. The error lists every difference.
    pub(crate) fn check_tensors<'a>(
        &self,
        found: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize])>,
    ) -> Result<(), ErrorKind> {
        let tensors = self.architecture.tensors().into_iter();
        let named = tensors.map(|tensor| (tensor.name.clone(), tensor));
        let mut expected: BTreeMap<String, TensorSpec> = named.collect();
        let mut unexpected = Vec::new();
        let mut differing = Vec::new();
        for (name, dtype, shape) in found {
            let found = Found {
                name: name.into(),
                dtype,
                shape: shape.to_vec(),
            };
            match expected.remove(name) {
                None => unexpected.push(found),
                Some(tensor) if tensor.shape != shape || !dtype.fits(tensor.kind) => {
                    differing.push((tensor, found));
                }
                Some(_) => {}
            }
        }
        let missing: Vec<TensorSpec> = expected
            .into_values()
            .filter(|tensor| !tensor.optional)
            .collect();
        if missing.is_empty() && unexpected.is_empty() && differing.is_empty() {
            return Ok(());
        }
        unexpected.sort_by(|a, b| a.name.cmp(&b.name));
        Err(ErrorKind::Tensors {
            architecture: self.architecture.name(),
            missing,
            unexpected,
            differing,
        })
    }
}

/// One tensor of a bundle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor<'a> {
    /// PyTorch's name of it in the state dict.
    pub name: &'a str,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: &'a [usize],
    /// Its elements in row-major order, little-endian. Not necessarily aligned.
    pub bytes: &'a [u8],
}

impl Tensor<'_> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether one of its dimensions is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements of a floating point tensor as `f32`: `f16` and `bf16` exactly, `f64` rounded to nearest. `None`
    /// for integers.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        Some(match self.dtype {
            Dtype::F32 => chunks(self.bytes).map(f32::from_le_bytes).collect(),
            Dtype::F64 => chunks(self.bytes)
                .map(|b| f64::from_le_bytes(b) as f32)
                .collect(),
            Dtype::F16 => chunks(self.bytes)
                .map(|b| half::f16::from_le_bytes(b).into())
                .collect(),
            Dtype::BF16 => chunks(self.bytes)
                .map(|b| half::bf16::from_le_bytes(b).into())
                .collect(),
            _ => return None,
        })
    }

    /// The elements of a floating point tensor as `f64`, exactly. `None` for integers.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        if self.dtype == Dtype::F64 {
            return Some(chunks(self.bytes).map(f64::from_le_bytes).collect());
        }
        Some(self.to_f32()?.into_iter().map(f64::from).collect())
    }

    /// Number of infinite and NaN elements.
    fn not_finite(&self) -> usize {
        // A finite `f64` may be infinite as `f32`.
        if self.dtype == Dtype::F64 {
            let values = chunks(self.bytes).map(f64::from_le_bytes);
            return values.filter(|value| !value.is_finite()).count();
        }
        let values = self.to_f32().unwrap_or_default().into_iter();
        values.filter(|value| !value.is_finite()).count()
    }
}

/// The bytes of each element.
pub(crate) fn chunks<const N: usize>(bytes: &[u8]) -> impl ExactSizeIterator<Item = [u8; N]> + '_ {
    bytes.as_chunks::<N>().0.iter().copied()
}

/// A tensor to be written into a bundle. Its elements are computed when they are written and dropped afterwards, so no
/// second copy of all weights is held in memory.
pub(crate) struct Draft<'a> {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Computes the elements. Their number and type are those of the tensor.
    elements: Box<dyn Fn() -> Cow<'a, [u8]> + 'a>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        dtype: Dtype,
        shape: &[usize],
        elements: impl Fn() -> Cow<'a, [u8]> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            elements: Box::new(elements),
        }
    }
}

impl View for &Draft<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype.to_safetensors()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        (self.elements)()
    }

    fn data_len(&self) -> usize {
        // No overflow: the shapes are those of the architecture, which are small.
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// Position of a tensor in the file.
#[derive(Debug, Clone)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

/// A complete, checked network: exactly the tensors of its architecture, with their shapes and types, all values finite.
#[derive(Debug, Clone)]
pub struct Bundle {
    bytes: Cow<'static, [u8]>,
    /// The file, where it holds integers, which `bytes` have as `f32`.
    stored: Option<Stored>,
    pub(crate) header: Header,
    entries: BTreeMap<String, Entry>,
    /// SHA-256 of the file, computed on first use: it takes as long as reading it.
    sha256: OnceLock<String>,
}

impl Bundle {
    /// Opens a saved bundle.
    ///
    /// # Errors
    /// If the file cannot be read or is not a complete bundle.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = files::read(path)?;
        Self::parse(Cow::Owned(bytes)).map_err(|kind| kind.at(path))
    }

    /// Reads a bundle from memory. `&'static` bytes are not copied. `origin` replaces the path in errors.
    ///
    /// # Errors
    /// If they are not a complete bundle.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>, origin: &str) -> Result<Self, Error> {
        Self::parse(bytes.into()).map_err(|kind| kind.at(origin))
    }

    pub(crate) fn parse(bytes: Cow<'static, [u8]>) -> Result<Self, ErrorKind> {
        let read = match CONTAINER.read(&bytes) {
            Err(ContainerError::Format(INTEGER_FORMAT)) => {
                let (wide, stored) = Stored::widen(bytes)?;
                return Ok(Self {
                    stored: Some(stored),
                    ..Self::parse(Cow::Owned(wide))?
                });
            }
            read => read,
        };
        let (header, metadata, data): (Header, _, _) = read?;
        header.check()?;

        let mut entries = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let dtype =
                Dtype::from_safetensors(info.dtype).ok_or_else(|| ErrorKind::ElementType {
                    tensor: name.clone(),
                    dtype: info.dtype.to_string(),
                })?;
            let (start, end) = info.data_offsets;
            let entry = Entry {
                dtype,
                shape: info.shape.clone(),
                start: data + start,
                end: data + end,
            };
            entries.insert(name, entry);
        }
        let found = entries
            .iter()
            .map(|(name, entry)| (&**name, entry.dtype, &*entry.shape));
        header.check_tensors(found)?;

        let bundle = Self {
            bytes,
            stored: None,
            header,
            entries,
            sha256: OnceLock::new(),
        };
        let tensors: Vec<NotFinite> = bundle
            .tensors()
            .map(|tensor| NotFinite {
                tensor: tensor.name.into(),
                values: tensor.not_finite(),
            })
            .filter(|tensor| tensor.values > 0)
            .collect();
        if !tensors.is_empty() {
            return Err(ErrorKind::NotFinite(tensors));
        }
        Ok(bundle)
    }

    /// Writes the file in memory and reads it again, so the written bytes are the checked ones.
    pub(crate) fn assemble(header: &Header, drafts: &[Draft<'_>]) -> Result<Self, ErrorKind> {
        let views = drafts.iter().map(|draft| (&draft.name, draft));
        let format = header.format;
        let bytes = Container {
            format,
            ..CONTAINER
        }
        .write(header, views)?;
        Self::parse(Cow::Owned(bytes))
    }

    /// The architecture with its hyperparameters.
    pub fn architecture(&self) -> &Architecture {
        &self.header.architecture
    }

    /// The task of the network. `None` for the PLDA, and for an export without this information.
    pub fn specifications(&self) -> Option<&Specifications> {
        self.header.specifications.as_ref()
    }

    /// The file from which the bundle was converted.
    pub fn source(&self) -> &Source {
        &self.header.source
    }

    /// Notes on inferred and changed values, for the user.
    pub fn notes(&self) -> &[String] {
        &self.header.notes
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.entries
            .iter()
            .map(|(name, entry)| self.view(name, entry))
    }

    /// The role of each tensor, by name.
    pub(crate) fn roles(&self) -> BTreeMap<String, Role> {
        let expected = self.header.architecture.tensors().into_iter();
        expected.map(|tensor| (tensor.name, tensor.role)).collect()
    }

    /// The tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let (name, entry) = self.entries.get_key_value(name)?;
        Some(self.view(name, entry))
    }

    fn view<'a>(&'a self, name: &'a str, entry: &'a Entry) -> Tensor<'a> {
        // In range: checked when the bundle was read.
        let bytes = &self.bytes[entry.start..entry.end];
        Tensor {
            name,
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes,
        }
    }

    /// The first byte of each tensor, by name.
    pub(crate) fn origins(&self) -> BTreeMap<String, Origin> {
        let entries = self.entries.iter();
        let place = |(name, entry): (&String, &Entry)| {
            let stored = self.stored.as_ref();
            let offset = stored.map_or(entry.start, |stored| stored.offset(name));
            (name.clone(), Origin::Bundle { offset })
        };
        entries.map(place).collect()
    }

    /// The integers as which the file holds the values of a tensor. `None` where it holds these themselves.
    #[must_use]
    pub fn integers(&self, name: &str) -> Option<Integers> {
        self.stored.as_ref()?.integers(name)
    }

    /// The tensors as a safetensors file. This is [`Self::file`], except that integers are widened to `f32`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the file.
    pub fn file(&self) -> &[u8] {
        self.stored.as_ref().map_or(&self.bytes, Stored::bytes)
    }

    /// SHA-256 of the file, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| sha256([self.file()]))
    }

    /// A copy with edited tensors. `edit` gets the name, the shape and the elements of each `f32` tensor. Everything
    /// else is unchanged, including the source.
    ///
    /// # Errors
    /// A new element is not finite.
    pub fn edited(&self, mut edit: impl FnMut(&str, &[usize], &mut [f32])) -> Result<Self, Error> {
        let mut bytes = self.bytes.to_vec();
        for (name, entry) in &self.entries {
            if entry.dtype != Dtype::F32 {
                continue;
            }
            let place = &mut bytes[entry.start..entry.end];
            let mut values: Vec<f32> = chunks(place).map(f32::from_le_bytes).collect();
            edit(name, &entry.shape, &mut values);
            for (place, value) in place.as_chunks_mut().0.iter_mut().zip(values) {
                *place = value.to_le_bytes();
            }
        }
        Self::from_bytes(bytes, &self.header.source.file)
    }

    /// The same network with the tensors of a safetensors file, whatever its metadata. `origin` replaces the path in errors.
    ///
    /// # Errors
    /// If it is no safetensors file or has other tensors than the network needs; every difference is listed.
    pub fn with_tensors(&self, file: &[u8], origin: &str) -> Result<Self, Error> {
        self.replaced(file).map_err(|kind| kind.at(origin))
    }

    fn replaced(&self, file: &[u8]) -> Result<Self, ErrorKind> {
        let file = SafeTensors::deserialize(file).map_err(ErrorKind::Safetensors)?;
        let mut drafts = Vec::new();
        for (name, view) in file.iter() {
            let (shape, bytes) = (view.shape(), view.data());
            let dtype = Dtype::from_safetensors(view.dtype());
            let dtype = dtype.ok_or_else(|| ErrorKind::ElementType {
                tensor: name.into(),
                dtype: view.dtype().to_string(),
            })?;
            let elements = move || Cow::Borrowed(bytes);
            drafts.push(Draft::new(name, dtype, shape, elements));
        }
        Self::assemble(&self.header, &drafts)
    }

    /// Writes a temporary file beside `path`, reads it back, compares every byte and renames it: `path` never holds an
    /// incomplete bundle.
    ///
    /// # Errors
    /// If a file cannot be written there.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        files::write(path, self.file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_float_are_read_and_those_of_integers_are_not() {
        let (half, bf16) = (half::f16::from_f32, half::bf16::from_f32);
        let values = [1.5_f32, -0.25, f32::INFINITY, f32::NAN];
        let bytes = [
            (Dtype::F32, values.map(|x| x.to_le_bytes().to_vec())),
            (
                Dtype::F64,
                values.map(|x| f64::from(x).to_le_bytes().to_vec()),
            ),
            (Dtype::F16, values.map(|x| half(x).to_le_bytes().to_vec())),
            (Dtype::BF16, values.map(|x| bf16(x).to_le_bytes().to_vec())),
        ];
        for (dtype, bytes) in bytes {
            let bytes = bytes.concat();
            let tensor = Tensor {
                name: "x",
                dtype,
                shape: &[4],
                bytes: &bytes,
            };
            let found = tensor.to_f32().expect("floats");
            assert_eq!((found.len(), &found[..3]), (4, &values[..3]), "{dtype}");
            assert!(found[3].is_nan(), "{dtype}");
            let wide = tensor.to_f64().expect("floats");
            assert_eq!(wide[..2], [1.5, -0.25], "{dtype}");
            assert_eq!(tensor.not_finite(), 2, "{dtype}");
        }
        let tensor = Tensor {
            name: "x",
            dtype: Dtype::I64,
            shape: &[1],
            bytes: &[0; 8],
        };
        assert_eq!(
            (tensor.to_f32(), tensor.to_f64(), tensor.not_finite()),
            (None, None, 0)
        );
    }

    /// Beyond f32, and finite.
    #[test]
    fn a_large_f64_is_finite() {
        let bytes = [1e300_f64, f64::NEG_INFINITY]
            .map(f64::to_le_bytes)
            .concat();
        let tensor = Tensor {
            name: "x",
            dtype: Dtype::F64,
            shape: &[2],
            bytes: &bytes,
        };
        assert_eq!(tensor.not_finite(), 1);
        assert_eq!(tensor.to_f64().expect("floats")[0], 1e300);
    }
}
