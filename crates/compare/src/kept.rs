//! A reference that was run once and is shown as often as somebody asks.

use soundalike_network::Graph;

use crate::{CompareError, EngineInfo, Input, Reference, ReferenceStage, Window, reference::See};

/// What a reference showed on some windows to a candidate that shows every stage. Many candidates can be compared with it,
/// and the reference runs no more.
#[derive(Debug, Clone)]
pub struct KeptReference {
    name: String,
    engine: EngineInfo,
    windows: Vec<KeptWindow>,
}

/// What it showed on one window.
#[derive(Debug, Clone)]
struct KeptWindow {
    window: Window,
    graph: Graph,
    stages: Vec<ReferenceStage>,
}

impl KeptReference {
    /// Runs `reference` on each of `windows`.
    ///
    /// # Errors
    /// [`CompareError`] where it fails.
    pub fn of(reference: &mut dyn Reference, windows: &[Window]) -> Result<Self, CompareError> {
        let mut kept = Self {
            name: reference.name(),
            engine: reference.engine(),
            windows: Vec::new(),
        };
        for window in windows {
            let mut stages = Vec::new();
            reference.run(window, &mut |stage| {
                stages.push(stage.clone());
                Ok(true)
            })?;
            kept.windows.push(KeptWindow {
                window: window.clone(),
                graph: reference.graph(window)?,
                stages,
            });
        }
        Ok(kept)
    }

    fn kept(&self, window: &Window) -> Result<&KeptWindow, CompareError> {
        let same = |kept: &Window| {
            let masks = |window: &Window| window.masks.as_ref().map(|masks| masks.name.clone());
            (&kept.uri, kept.start, masks(kept)) == (&window.uri, window.start, masks(window))
                && kept.waveform == window.waveform
        };
        let found = self.windows.iter().find(|kept| same(&kept.window));
        let missing = || CompareError::OtherInput {
            window: Input::new(window).to_string(),
        };
        found.ok_or_else(missing)
    }
}

impl Reference for KeptReference {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn engine(&self) -> EngineInfo {
        self.engine.clone()
    }

    fn graph(&self, window: &Window) -> Result<Graph, CompareError> {
        Ok(self.kept(window)?.graph.clone())
    }

    fn run(&mut self, window: &Window, see: &mut See<'_>) -> Result<(), CompareError> {
        for stage in &self.kept(window)?.stages {
            see(stage)?;
        }
        Ok(())
    }

    /// The floors that were kept are those of a candidate that shows every stage.
    fn follows_fusion(&self) -> bool {
        false
    }
}
