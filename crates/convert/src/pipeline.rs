//! placeholder
/// What is wrong with a pipeline directory.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {}
pub(crate) fn is_pipeline(path: &std::path::Path) -> bool {
    path.join("config.yaml").is_file() || path.join("pipeline.json").is_file()
}
