//! A candidate's trace whose names and layouts are not those of the reference.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek},
    path::Path,
    sync::Arc,
};

use ndarray::ArrayD;
use soundalike_convert::{Npz, NpzEntry};

use crate::{
    ActivationTrace, CompareError, Match, MatchedBy, NameMap, Reference, ReferenceTrace, Running,
    TraceError, Window,
    alignment::{Alignment, Tensors},
    trace::{FORCED, Place, may_be_stage, read},
};

impl ActivationTrace {
    /// Opens a trace like [`Self::open`]. If it lacks stages of `reference` on `window` by their names and has other arrays,
    /// the stages are found among these by similar names, by their values in any layout, or by their order.
    /// `running` is how its entries were computed. `by_value`: also where all arrays have names of stages, as in a candidate that
    /// has folded some away.
    ///
    /// # Errors
    /// As [`Self::open`], and where the reference fails.
    pub fn aligned(
        path: &Path,
        names: &NameMap,
        reference: &mut dyn Reference,
        window: &Window,
        running: Running,
        by_value: bool,
    ) -> Result<Self, CompareError> {
        let mut trace = Self::open(path, names)?;
        let graph = reference.graph(window)?;
        let arranged: Vec<Match> = names.arranged().map(told).collect();
        if !arranged.is_empty() {
            let shapes = reference.golden_tensors(window)?.list();
            trace.place(arranged, &shapes);
        }
        let mut stages = graph.stages().iter().map(|stage| &stage.name);
        if stages.all(|name| trace.stages.contains_key(name)) {
            return Ok(trace);
        }
        let mut arrays = Arrays::of(path, &trace.origin, names)?;
        let is_stage = |name: &String| graph.get(name).is_some();
        let spare = |(name, _): &(String, Vec<usize>)| !is_stage(name) && !names.maps(name);
        if !by_value && !arrays.names.iter().any(spare) {
            return Ok(trace);
        }
        // A line of the map overrules.
        let mapped = |(name, _): &(String, _)| names.stage_of(name).map(str::to_owned);
        let taken: Vec<String> = arrays.names.iter().filter_map(mapped).collect();
        arrays.names.retain(|(name, _)| !names.maps(name));
        let mut golden = Unmapped::of(reference.golden_tensors(window)?, &taken);
        let mut found = Alignment::find(&mut golden, &mut arrays)?;
        if running == Running::Free && !arrays.has_fed {
            found.drop_implausible(&graph, &arrays);
        }
        // Objects, say: an error where they are read.
        let npz = arrays.npz;
        let is_no_number = |entry: &str| {
            npz.entry(entry)
                .is_some_and(|entry| entry.dtype().is_none())
        };
        trace.stages.retain(|name, place| {
            taken.contains(name) || is_stage(name) && is_no_number(&place.entry)
        });
        trace.place(found.matches, &golden.list());
        trace.unused = found.unused;
        Ok(trace)
    }

    /// Opens a trace whose stages were found before: `matches` of `reference`. `map` has no names.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn matched<R: Read + Seek>(
        path: &Path,
        matches: Vec<Match>,
        map: &NameMap,
        reference: &ReferenceTrace<R>,
    ) -> Result<Self, TraceError> {
        let mut trace = Self::open(path, map)?;
        let arrays = Arrays::of(path, &trace.origin, map)?;
        let is_stage = |name: &String| matches.iter().any(|found| found.name == *name);
        let names = arrays.names.into_iter().map(|(name, _)| name);
        trace.unused = names.filter(|name| !is_stage(name)).collect();
        trace.stages.clear();
        trace.place(matches, &reference.list());
        Ok(trace)
    }

    /// Takes the stages of `matches`, whose shapes are among `stages`.
    fn place(&mut self, matches: Vec<Match>, stages: &[(String, Vec<usize>)]) {
        let shapes: BTreeMap<_, _> = stages.iter().cloned().collect();
        for matched in &matches {
            let shape = shapes.get(&matched.stage).cloned().unwrap_or_default();
            let place = Place {
                entry: matched.name.clone(),
                matched: Some((matched.clone(), shape)),
            };
            self.stages.insert(matched.stage.clone(), place);
        }
        self.matched.extend(matches);
    }
}

/// What a line of a map of names says of an entry.
fn told((entry, stage, axes): (&str, &str, &[usize])) -> Match {
    Match {
        stage: stage.to_owned(),
        name: entry.to_owned(),
        by: MatchedBy::Name,
        axes: (!axes.is_empty()).then(|| axes.to_vec()),
        error: 0.0,
        ambiguous: Vec::new(),
    }
}

/// The stages that a map of names does not name.
struct Unmapped<'a> {
    golden: Box<dyn Tensors<Error = CompareError> + 'a>,
    /// Places among all stages.
    places: Vec<usize>,
}

impl<'a> Unmapped<'a> {
    fn of(golden: Box<dyn Tensors<Error = CompareError> + 'a>, mapped: &[String]) -> Self {
        let names = golden.list().into_iter().enumerate();
        let free = names.filter(|(_, (name, _))| !mapped.contains(name));
        Self {
            places: free.map(|(place, _)| place).collect(),
            golden,
        }
    }
}

impl Tensors for Unmapped<'_> {
    type Error = CompareError;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        let all = self.golden.list();
        self.places
            .iter()
            .map(|place| all[*place].clone())
            .collect()
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, CompareError> {
        self.golden.read(self.places[index])
    }
}

impl<R: Read + Seek> Tensors for ReferenceTrace<R> {
    type Error = CompareError;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        let stages = self.manifest().graph().stages().iter().enumerate();
        stages
            .map(|(index, stage)| (stage.name.clone(), self.manifest().shape(index).to_vec()))
            .collect()
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, CompareError> {
        let name = self.manifest().graph().stages()[index].name.clone();
        Ok(self.golden(&name)?)
    }
}

/// The golden outputs of a reference, in memory.
pub(crate) struct Golden(Vec<(String, Arc<ArrayD<f64>>)>);

impl Golden {
    pub(crate) fn of(
        reference: &mut (impl Reference + ?Sized),
        window: &Window,
    ) -> Result<Self, CompareError> {
        let mut golden = Vec::new();
        reference.run(window, &mut |stage| {
            golden.push((stage.stage.name.clone(), Arc::clone(&stage.golden)));
            Ok(true)
        })?;
        Ok(Self(golden))
    }
}

impl Tensors for Golden {
    type Error = CompareError;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        let golden = self.0.iter();
        golden
            .map(|(name, values)| (name.clone(), values.shape().to_vec()))
            .collect()
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, CompareError> {
        Ok(self.0[index].1.as_ref().clone())
    }
}

/// The arrays of a candidate that may be stages.
struct Arrays<'a> {
    npz: Npz<File>,
    origin: String,
    map: &'a NameMap,
    names: Vec<(String, Vec<usize>)>,
    /// Whether some were also recorded in a run that the reference fed: their values are right behind a fault as well.
    has_fed: bool,
}

impl<'a> Arrays<'a> {
    fn of(path: &Path, origin: &str, map: &'a NameMap) -> Result<Self, TraceError> {
        let npz = map.open(path)?;
        let may_be = |entry: &&NpzEntry| may_be_stage(entry);
        let named = |entry: &NpzEntry| (entry.name().to_owned(), entry.shape().to_vec());
        Ok(Self {
            names: npz.entries().iter().filter(may_be).map(named).collect(),
            has_fed: npz
                .entries()
                .iter()
                .any(|entry| entry.name().starts_with(FORCED)),
            npz,
            origin: origin.to_owned(),
            map,
        })
    }
}

impl Tensors for Arrays<'_> {
    type Error = CompareError;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        self.names.clone()
    }

    fn alias(&self, name: &str) -> Option<&str> {
        self.map.alias(name)
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, CompareError> {
        let (name, shape) = &self.names[index];
        let fed = format!("{FORCED}{name}");
        let name = match self.npz.entry(&fed) {
            Some(entry) if entry.shape() == shape => &fed,
            _ => name,
        };
        Ok(read(&mut self.npz, &self.origin, name)?)
    }
}
