//! What can be wrong with a pipeline directory.

use crate::name::quoted_name;

/// What is wrong with a pipeline directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A configuration larger than any.
    #[error("configuration has {found} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A configuration that is not YAML.
    #[error("configuration is not valid YAML: {reason}")]
    Yaml {
        /// The YAML library's error. Its text includes its causes, so it is printed here and is not the `source()`.
        reason: Box<serde_saphyr::Error>,
    },
    /// A manifest that is not ours.
    #[error("manifest cannot be read; convert the original again")]
    Json {
        /// What the JSON library said.
        source: serde_json::Error,
    },
    /// A manifest of another version.
    #[error(
        "manifest has format {found}, this program reads {expected}; convert the original again"
    )]
    Format {
        /// The version in the file.
        found: u32,
        /// The version this crate writes.
        expected: u32,
    },
    /// A key that is not known: it might change what the pipeline does.
    #[error("configuration has {}, which is not known; remove it if it does not matter", quoted_name(.key))]
    UnknownKey {
        /// Its name with the dictionaries it is in: `params.clustering.threshold`.
        key: String,
    },
    /// A value that is missing or of another type.
    #[error("configuration has {found} for {}, expected {expected}", quoted_name(.key))]
    Value {
        /// Its name with the dictionaries it is in.
        key: String,
        /// What is there.
        found: String,
        /// What has to be there.
        expected: String,
    },
    /// A pipeline that does something else.
    #[error("pipeline is {found}, expected pyannote.audio.pipelines.SpeakerDiarization")]
    Pipeline {
        /// Its class.
        found: String,
    },
    /// A model on a hub.
    #[error(
        "{part} is {}, which is neither a file nor a directory beside the configuration; download it and write its path there",
        quoted_name(.name)
    )]
    NotLocal {
        /// Which of the models.
        part: &'static str,
        /// Its name.
        name: String,
    },
    /// A model whose file is missing.
    #[error("{part} should be in {}, which does not exist; is the download complete?", quoted_name(.file))]
    NoFile {
        /// Which of the models.
        part: &'static str,
        /// Where it should be, from the pipeline's directory.
        file: String,
    },
    /// A model that the clustering needs and the configuration does not name.
    #[error("{part} is missing, and the clustering needs it")]
    MissingModel {
        /// Which of the models.
        part: &'static str,
    },
    /// A model named twice in a manifest.
    #[error("{part} is listed twice; convert the original again")]
    Twice {
        /// Which of the models.
        part: &'static str,
    },
    /// A model of another kind.
    #[error("is {found}, which cannot be the {part} of a pipeline")]
    WrongModel {
        /// Which of the models.
        part: &'static str,
        /// Its architecture.
        found: String,
    },
    /// Embeddings that the PLDA was not made for.
    #[error("embedding has {embedding} values, the PLDA is for {plda}; are they of one pipeline?")]
    Dimensions {
        /// Values of the network's embeddings.
        embedding: usize,
        /// Values the PLDA takes.
        plda: usize,
    },
    /// A bundle that is not the one that was written with the manifest.
    #[error("has SHA-256 {found}, the manifest says {expected}; convert the original again")]
    Changed {
        /// The file's.
        found: String,
        /// The manifest's.
        expected: String,
    },
}
