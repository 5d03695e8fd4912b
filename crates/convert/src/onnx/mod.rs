//! ONNX exports of PyanNet and of WeSpeaker's ResNets.
//!
//! An exporter renames weights (`onnx::LSTM_783`), stacks the directions of an LSTM, reorders its gates, transposes
//! matrices and folds norms. Names of weights are not reliable. So the graph is followed from its output back, and each
//! weight is taken from the node that uses it.

mod chain;
mod error;
mod expanded;
mod graph;
mod linear;
mod moves;
mod pyannet;
mod wespeaker;
mod wire;

use std::collections::BTreeSet;

pub use error::OnnxError;
use graph::Graph;
pub(crate) use graph::Outside;

use soundalike_network::{Architecture, PyanNet, SincFilters, Specifications};

use crate::{
    Conversion, Source,
    bundle::Header,
    error::ErrorKind,
    loose,
    source::{SourceFormat, sha256},
    told::Told,
};

/// Whether a file looks like a serialized `ModelProto`.
pub(crate) fn is_onnx(bytes: &[u8]) -> bool {
    graph::looks_like_model(bytes)
}

/// Names of the files beside an export in which it keeps weights.
pub(crate) fn outside(bytes: &[u8]) -> BTreeSet<String> {
    graph::outside(bytes)
}

/// An export, before its conversion.
pub(crate) struct Export<'a> {
    bytes: &'a [u8],
    outside: &'a Outside,
    pub(crate) graph: Graph<'a>,
}

impl<'a> Export<'a> {
    pub(crate) fn read(bytes: &'a [u8], outside: &'a Outside) -> Result<Self, OnnxError> {
        Ok(Self {
            bytes,
            outside,
            graph: Graph::read(bytes, outside)?,
        })
    }

    pub(crate) fn convert(self, file: String) -> Result<Conversion, ErrorKind> {
        let files = [self.bytes].into_iter();
        let all = files.chain(self.outside.values().map(Vec::as_slice));
        let source = Source::new(file, SourceFormat::Onnx, sha256(all));
        if self.graph.is_of_images() {
            let tensors = wespeaker::read(&self.graph)?;
            let found = loose::convert(tensors, &Told::default(), source)?;
            return found.ok_or_else(|| OnnxError::UnknownDepth.into());
        }
        let (pyannet, tensors) = pyannet::read(&self.graph)?;
        let mut notes = Vec::new();
        if pyannet.sincnet.filters == SincFilters::Baked {
            notes.push("sinc filters are baked: the export holds the built filters".to_owned());
        }
        let specifications = self.specifications(&pyannet, &mut notes);
        let architecture = Architecture::PyanNet(pyannet);
        let header = Header::new(architecture, specifications, source, notes)?;
        loose::assemble(&header, tensors)
    }

    /// The task of the network, from the metadata or inferred.
    ///
    /// Keys of `metadata_props` are those of sherpa-onnx: `num_speakers`, `powerset_max_classes`, `window_size` (samples).
    fn specifications(&self, pyannet: &PyanNet, notes: &mut Vec<String>) -> Option<Specifications> {
        let number = |key: &str| self.graph.metadata(key)?.trim().parse::<usize>().ok();
        let samples = number("window_size").filter(|&samples| samples > 0);
        let samples = samples.or_else(|| self.graph.input_len());
        let told = Told {
            duration: samples.map(|samples| samples as f64 / f64::from(pyannet.sample_rate)),
            classes: number("num_speakers"),
            most: number("powerset_max_classes"),
        };
        told.specifications(pyannet.num_outputs, pyannet.activation, "export", notes)
    }
}
