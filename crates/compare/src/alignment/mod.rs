//! The stages of a reference among the tensors of a candidate that has other names, other layouts, and more or fewer steps.
//!
//! A port that is right up to a stage has the same numbers there. So a stage is found by its name, where names agree; else by
//! its values, in any order of axes; else, behind a fault, by the order of execution among the tensors of its shape.

mod fingerprint;
mod layout;
mod mask;
mod names;
mod order;

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};
use soundalike_network::{Graph, Op, Operand, Stage};

use self::{fingerprint::Fingerprint, layout::Layout, mask::Unmasked, names::Fit};
use crate::UNSTEADY_R;

/// Named tensors in order of execution, of which few are in memory at once.
pub trait Tensors {
    /// Why a tensor cannot be read.
    type Error;
    /// Name and shape of each.
    fn list(&self) -> Vec<(String, Vec<usize>)>;
    /// What else one is called: the path of the module that computes it.
    fn alias(&self, _name: &str) -> Option<&str> {
        None
    }
    /// The values of one.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, Self::Error>;
}

impl<T: Tensors + ?Sized> Tensors for &mut T {
    type Error = T::Error;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        (**self).list()
    }

    fn alias(&self, name: &str) -> Option<&str> {
        (**self).alias(name)
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, T::Error> {
        (**self).read(index)
    }
}

/// By what a stage was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// By its name.
    Name,
    /// By its values.
    Value,
    /// By its place among tensors of its shape.
    Order,
}

/// A stage and its tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// The stage of the reference.
    #[serde(skip_serializing)]
    pub stage: String,
    /// The tensor of the candidate.
    pub name: String,
    /// By what it was found.
    pub by: MatchedBy,
    /// Axis `i` of the stage is axis `axes[i]` of the tensor, without axes of length 1 on both sides. `None`: the values are in
    /// the same order, in another shape.
    pub axes: Option<Vec<usize>>,
    /// Root mean square of the difference, in units of the stage's.
    pub error: f64,
    /// Other tensors that fit as well.
    pub ambiguous: Vec<String>,
}

/// The stages of a reference among the tensors of a candidate.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Alignment {
    /// The stages that were found, in order of execution.
    pub(crate) matches: Vec<Match>,
    /// Tensors of the candidate that are no stage.
    pub(crate) unused: Vec<String>,
}

/// Largest error of a match by value: above the rounding of bfloat16, whose unit is 2^-8, and far below what a wrong tensor has.
const SAME_VALUES: f64 = 0.02;
/// The same for a tensor of one value, which others have nearly by chance.
const SAME_VALUE: f64 = 1e-4;
/// Least error of a tensor that has nothing in common with a stage: with one of the same size it is 1.4.
const UNRELATED: f64 = 0.9;
/// Largest distance of fingerprints of tensors that are compared value by value.
const NEAR: f64 = 0.1;
/// How many times farther than the nearest fingerprint that of the right tensor may be.
const FARTHER: f64 = 10.0;
/// Most tensors that are compared with a stage value by value.
const MOST_COMPARED: usize = 6;
/// How much more error than the best another tensor may have to be as good.
const AS_GOOD: f64 = 2.0;
/// Error of equal values, whose quotient says nothing.
const EQUAL: f64 = 1e-7;

impl Alignment {
    /// Finds the stages of `reference` among the tensors of `candidate`. Each is read a few times, one at a time.
    ///
    /// # Errors
    /// Where a tensor cannot be read.
    pub(crate) fn find<E>(
        reference: &mut dyn Tensors<Error = E>,
        candidate: &mut dyn Tensors<Error = E>,
    ) -> Result<Self, E> {
        let (reference, candidate) = (&mut Unmasked(reference), &mut Unmasked(candidate));
        let stages = Side::of(reference, None)?;
        let counts: Vec<usize> = stages
            .shapes
            .iter()
            .map(|shape| shape.iter().product())
            .collect();
        let tensors = Side::of(candidate, Some(&counts))?;
        let mut search = Search {
            used: vec![false; tensors.names.len()],
            found: vec![None; stages.names.len()],
            stages,
            tensors,
        };
        for stage in 0..search.stages.names.len() {
            search.by_value(stage, reference, candidate)?;
        }
        for stage in 0..search.stages.names.len() {
            // A name within another may be that of a folded group, which is another stage.
            search.by_name(stage, Fit::Path, reference, candidate)?;
        }
        search.by_name_alone();
        search.by_order(reference, candidate)?;
        for stage in 0..search.stages.names.len() {
            // In a folder, the order is that of the names.
            search.by_name(stage, Fit::Scope, reference, candidate)?;
        }
        Ok(search.finish())
    }
}

impl Alignment {
    /// Leaves out tensors that cannot be the stage: their values are wrong, and whatever reads the stage is right in the free run.
    /// Such a stage has no tensor of its own, as where a norm is folded into it. A tensor that was found by more than its order is
    /// left out only where a batch norm alone reads it, which hides no error.
    pub(crate) fn drop_implausible(&mut self, graph: &Graph, tensors: &impl Tensors) {
        // From the last to the first: a stage that was not found hands the values on.
        let stages = graph.stages();
        let mut error_behind = vec![f64::INFINITY; stages.len()];
        for index in (0..stages.len()).rev() {
            let reads = |stage: &&Stage| stage.operands.contains(&Operand::Stage(index));
            let readers = stages.iter().enumerate();
            let readers = readers.filter(|(_, stage)| reads(stage));
            let errors = readers.map(|(reader, stage)| match self.of(&stage.name) {
                Some(found) => found.error,
                None => error_behind[reader],
            });
            if let Some(largest) = errors.reduce(f64::max) {
                error_behind[index] = largest;
            }
        }
        // What rounding costs in this candidate.
        let by_value = self
            .matches
            .iter()
            .filter(|found| found.error < SAME_VALUES);
        let mut usual: Vec<f64> = by_value.map(|found| found.error).collect();
        usual.sort_by(f64::total_cmp);
        let usual = usual.get(usual.len() / 2).copied().unwrap_or_default();
        let alias_fits = |found: &Match| {
            let alias = tensors.alias(&found.name);
            alias.is_some_and(|alias| names::fit(&found.stage, alias).is_some())
        };
        let implausible = |found: &Match| {
            let place = graph.position(&found.stage);
            let behind = place.map_or(f64::INFINITY, |place| error_behind[place]);
            let unlike = found.by == MatchedBy::Order
                && found.error >= UNRELATED
                && names::fit(&found.stage, &found.name).is_none()
                && !alias_fits(found);
            let folded = found.error >= SAME_VALUES && is_read_by_batch_norm(graph, place);
            (unlike || folded) && behind <= (UNSTEADY_R * usual).max(EQUAL)
        };
        let (dropped, kept): (Vec<_>, _) = std::mem::take(&mut self.matches)
            .into_iter()
            .partition(implausible);
        self.matches = kept;
        let names = dropped.into_iter().map(|found| found.name);
        self.unused.extend(names);
    }

    /// What was found for a stage.
    fn of(&self, stage: &str) -> Option<&Match> {
        self.matches.iter().find(|found| found.stage == stage)
    }
}

/// Whether a batch norm reads the stage at `place`, and nothing else does.
fn is_read_by_batch_norm(graph: &Graph, place: Option<usize>) -> bool {
    let reads = |stage: &&Stage| {
        let operand =
            |operand: &Operand| matches!(operand, Operand::Stage(of) if Some(*of) == place);
        stage.operands.iter().any(operand)
    };
    let mut readers = graph.stages().iter().filter(reads);
    let is_batch_norm = |stage: &Stage| match &stage.op {
        Op::BatchNorm { .. } => true,
        Op::Other(kind) => kind.starts_with("BatchNorm"),
        _ => false,
    };
    readers.next().is_some_and(is_batch_norm) && readers.next().is_none()
}

/// What is known of one side without its values.
struct Side {
    names: Vec<String>,
    aliases: Vec<Option<String>>,
    shapes: Vec<Vec<usize>>,
    /// None for a tensor that is no stage by its size, and was not read.
    fingerprints: Vec<Option<Fingerprint>>,
}

impl Side {
    /// Reads all tensors of `side`, or those with one of `counts` of values.
    fn of<E>(side: &mut dyn Tensors<Error = E>, counts: Option<&[usize]>) -> Result<Self, E> {
        let (names, shapes): (Vec<_>, Vec<_>) = side.list().into_iter().unzip();
        let mut fingerprints = Vec::with_capacity(shapes.len());
        for (index, shape) in shapes.iter().enumerate() {
            let count = shape.iter().product();
            let wanted = counts.is_none_or(|counts| counts.contains(&count));
            let read = wanted.then(|| side.read(index)).transpose()?;
            fingerprints.push(read.map(|values| Fingerprint::of(&values)));
        }
        let alias = |name: &String| side.alias(name).map(str::to_owned);
        Ok(Self {
            aliases: names.iter().map(alias).collect(),
            names,
            shapes,
            fingerprints,
        })
    }
}

/// A tensor that was found for a stage.
#[derive(Debug, Clone)]
struct Found {
    tensor: usize,
    by: MatchedBy,
    axes: Option<Vec<usize>>,
    error: f64,
    ambiguous: Vec<usize>,
}

struct Search {
    stages: Side,
    tensors: Side,
    used: Vec<bool>,
    found: Vec<Option<Found>>,
}

/// A tensor and its layout.
type Compared = (usize, Option<Vec<usize>>, f64);

impl Search {
    /// The tensors with as many values as `stage`.
    fn as_large(&self, stage: usize) -> impl Iterator<Item = usize> {
        let count: usize = self.stages.shapes[stage].iter().product();
        let shapes = self.tensors.shapes.iter().enumerate();
        shapes
            .filter(move |(_, shape)| shape.iter().product::<usize>() == count)
            .map(|(index, _)| index)
    }

    /// How the names of a tensor fit a stage, if one does.
    fn fit(&self, stage: usize, tensor: usize) -> Option<Fit> {
        let stage = &self.stages.names[stage];
        self.names_of(tensor)
            .filter_map(|name| names::fit(stage, name))
            .max()
    }

    /// The names of a tensor.
    fn names_of(&self, tensor: usize) -> impl Iterator<Item = &str> {
        let alias = self.tensors.aliases[tensor].as_deref();
        std::iter::once(&*self.tensors.names[tensor]).chain(alias)
    }

    fn distance(&self, stage: usize, tensor: usize) -> f64 {
        match (
            &self.stages.fingerprints[stage],
            &self.tensors.fingerprints[tensor],
        ) {
            (Some(stage), Some(tensor)) => stage.distance(tensor),
            _ => f64::INFINITY,
        }
    }

    /// The tensors whose names fit `stage` best, the last step of a scope last.
    fn named(&self, stage: usize) -> Vec<usize> {
        let mut named: Vec<(Fit, usize)> = self
            .as_large(stage)
            .filter_map(|tensor| Some((self.fit(stage, tensor)?, tensor)))
            .collect();
        named.sort();
        let best_fit = named.last().map(|(fit, _)| *fit);
        named.retain(|(fit, _)| Some(*fit) == best_fit);
        named.into_iter().map(|(_, tensor)| tensor).collect()
    }

    /// The tensors whose fingerprints are near that of `stage`, the nearest first.
    fn near(&self, stage: usize) -> Vec<usize> {
        let mut near: Vec<(f64, usize)> = self
            .as_large(stage)
            .map(|tensor| (self.distance(stage, tensor), tensor))
            .filter(|(distance, _)| *distance < NEAR)
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Rounding puts the right one far nearer than others of like values.
        let least = near.first().map_or(0.0, |(distance, _)| *distance);
        near.retain(|(distance, _)| *distance <= FARTHER * least + EQUAL);
        near.truncate(MOST_COMPARED);
        near.into_iter().map(|(_, tensor)| tensor).collect()
    }

    /// Matches a stage whose values a tensor has.
    fn by_value<E>(
        &mut self,
        stage: usize,
        reference: &mut dyn Tensors<Error = E>,
        candidate: &mut dyn Tensors<Error = E>,
    ) -> Result<(), E> {
        // A constant has the values of many tensors.
        let fingerprint = self.stages.fingerprints[stage].as_ref();
        let Some(fingerprint) = fingerprint.filter(|found| !found.is_constant()) else {
            return Ok(());
        };
        let named = self.named(stage);
        let mut tried: Vec<usize> = named.iter().rev().take(MOST_COMPARED).copied().collect();
        tried.extend(self.near(stage));
        tried.sort_unstable();
        tried.dedup();
        if tried.is_empty() {
            return Ok(());
        }
        let golden = reference.read(stage)?;
        let mut compared: Vec<Compared> = Vec::new();
        for tensor in tried {
            let (axes, error) = layout_of(&golden, &candidate.read(tensor)?);
            compared.push((tensor, axes, error));
        }
        let errors = compared.iter().map(|(.., error)| *error);
        let least = errors.fold(f64::INFINITY, f64::min);
        let as_good = |error: f64| error <= (least * AS_GOOD).max(EQUAL);
        let same = match fingerprint.is_single() {
            true => SAME_VALUE,
            false => SAME_VALUES,
        };
        compared.retain(|(.., error)| least < same && as_good(*error));
        let last = self.found[..stage].iter().rev().flatten();
        let last = last.map(|found| found.tensor).next();
        // Among equals: the one of this name, then one that is no other stage, then the next in order.
        let chosen = compared.iter().max_by_key(|(tensor, ..)| {
            let follows = last.is_none_or(|last| *tensor > last);
            (
                named.contains(tensor),
                !self.used[*tensor],
                follows,
                std::cmp::Reverse(*tensor),
            )
        });
        let Some((tensor, axes, error)) = chosen else {
            return Ok(());
        };
        // An alias only tells which of several it is.
        let own = &self.tensors.names[*tensor];
        let is_named = names::fit(&self.stages.names[stage], own).is_some();
        let (by, ambiguous) = match is_named && named.contains(tensor) {
            true => (MatchedBy::Name, Vec::new()),
            false => {
                let others = compared.iter().map(|(other, ..)| *other);
                let other = |other: &usize| other != tensor && !self.used[*other];
                (MatchedBy::Value, others.filter(other).collect())
            }
        };
        self.used[*tensor] = true;
        self.found[stage] = Some(Found {
            tensor: *tensor,
            by,
            axes: axes.clone(),
            error: *error,
            ambiguous,
        });
        Ok(())
    }

    /// Matches a stage that no tensor has the values of with the tensor whose name fits it at `least`, unless that is another
    /// stage.
    fn by_name<E>(
        &mut self,
        stage: usize,
        least: Fit,
        reference: &mut dyn Tensors<Error = E>,
        candidate: &mut dyn Tensors<Error = E>,
    ) -> Result<(), E> {
        let same = |tensor: &usize| self.fit(stage, *tensor).is_some_and(|fit| fit >= least);
        let mut named = self.named(stage).into_iter().rev();
        let free = named.find(|tensor| !self.used[*tensor] && same(tensor));
        let Some(tensor) = free.filter(|_| self.found[stage].is_none()) else {
            return Ok(());
        };
        let (axes, error) = self.layout_of_wrong(&reference.read(stage)?, &candidate.read(tensor)?);
        self.used[tensor] = true;
        self.found[stage] = Some(Found {
            tensor,
            by: MatchedBy::Name,
            axes,
            error,
            ambiguous: Vec::new(),
        });
        Ok(())
    }

    /// Matches the stages whose name a tensor of another size has: one frame short, say.
    fn by_name_alone(&mut self) {
        for stage in 0..self.found.len() {
            let name = &self.stages.names[stage];
            let tensor = self.tensors.names.iter().position(|other| other == name);
            let free = tensor.filter(|tensor| self.found[stage].is_none() && !self.used[*tensor]);
            if let Some(tensor) = free {
                self.used[tensor] = true;
                self.found[stage] = Some(Found {
                    tensor,
                    by: MatchedBy::Name,
                    axes: None,
                    error: f64::INFINITY,
                    ambiguous: Vec::new(),
                });
            }
        }
    }

    /// Matches the rest, between the stages that were found.
    fn by_order<E>(
        &mut self,
        reference: &mut dyn Tensors<Error = E>,
        candidate: &mut dyn Tensors<Error = E>,
    ) -> Result<(), E> {
        let mut start = 0;
        while start < self.found.len() {
            if self.found[start].is_some() {
                start += 1;
                continue;
            }
            let end = (start..self.found.len()).find(|stage| self.found[*stage].is_some());
            let end = end.unwrap_or(self.found.len());
            // Of equal tensors, the first is the stage, and the others may be computed much later.
            let before = self.found[..start]
                .iter()
                .flatten()
                .map(|found| found.ambiguous.iter().fold(found.tensor, |a, b| a.min(*b)) + 1)
                .max();
            // One tensor may be several stages of equal values: then it may lie before.
            let behind = self.found[end..]
                .iter()
                .flatten()
                .map(|found| found.tensor)
                .filter(|tensor| before.is_none_or(|before| *tensor >= before))
                .min();
            let gap = before.unwrap_or(0)..behind.unwrap_or(self.tensors.names.len());
            let free: Vec<usize> = gap.filter(|tensor| !self.used[*tensor]).collect();
            let distance = |stage: usize, tensor: usize| {
                let (stage, tensor) = (start + stage, free[tensor]);
                match layout::same_axes(&self.stages.shapes[stage], &self.tensors.shapes[tensor]) {
                    // Also far apart by a fault.
                    true => {
                        let name = &self.stages.names[stage];
                        let bonuses = self.names_of(tensor).map(|other| names::bonus(name, other));
                        self.distance(stage, tensor).min(1.0) - bonuses.fold(0.0, f64::max)
                    }
                    false => f64::INFINITY,
                }
            };
            let matched = order::monotone(end - start, free.len(), distance);
            for (stage, place) in (start..end).zip(&matched) {
                let Some(place) = place else {
                    continue;
                };
                let tensor = free[*place];
                let (axes, error) =
                    self.layout_of_wrong(&reference.read(stage)?, &candidate.read(tensor)?);
                // Tensors of its shape that could be it as well, up to the next stage.
                let others = free.iter().enumerate().filter(|(other, tensor)| {
                    let taken = matched.contains(&Some(*other));
                    let shapes = (&self.stages.shapes[stage], &self.tensors.shapes[**tensor]);
                    !taken && layout::same_axes(shapes.0, shapes.1)
                });
                self.found[stage] = Some(Found {
                    tensor,
                    by: MatchedBy::Order,
                    axes,
                    error,
                    ambiguous: others.map(|(_, tensor)| *tensor).collect(),
                });
            }
            for found in self.found[start..end].iter().flatten() {
                self.used[found.tensor] = true;
            }
            start = end;
        }
        Ok(())
    }

    /// As [`layout_of`] for values that may be wrong, which say nothing about the order of axes where lengths are equal: that is
    /// then the one that most stages have, or else that of the stage.
    fn layout_of_wrong(
        &self,
        golden: &ArrayD<f64>,
        tensor: &ArrayD<f64>,
    ) -> (Option<Vec<usize>>, f64) {
        let found = layout_of(golden, tensor);
        let rank = layout::squeezed_shape(golden.shape()).len();
        let right = self.found.iter().flatten();
        let right = right.filter(|found| found.error < SAME_VALUES);
        let mut usual: BTreeMap<&[usize], usize> = BTreeMap::new();
        for axes in right.filter_map(|found| found.axes.as_deref()) {
            if axes.len() == rank {
                *usual.entry(axes).or_default() += 1;
            }
        }
        let own: Vec<usize> = (0..rank).collect();
        let most = usual.into_iter().max_by_key(|(_, stages)| *stages);
        let usual = most.map_or(&*own, |(axes, _)| axes);
        match found {
            (Some(axes), error) if error >= SAME_VALUES && axes != usual => {
                let told = layout::in_order(golden, tensor, usual);
                told.map_or((Some(axes), error), |error| (Some(usual.to_vec()), error))
            }
            found => found,
        }
    }

    fn finish(self) -> Alignment {
        let name = |tensor: usize| self.tensors.names[tensor].clone();
        let mut alignment = Alignment::default();
        for (stage, found) in self.stages.names.iter().zip(self.found) {
            alignment.matches.extend(found.map(|found| Match {
                stage: stage.clone(),
                name: name(found.tensor),
                by: found.by,
                axes: found.axes,
                error: found.error,
                ambiguous: found.ambiguous.into_iter().map(name).collect(),
            }));
        }
        let unused = self.used.iter().enumerate().filter(|(_, used)| !**used);
        alignment.unused = unused.map(|(tensor, _)| name(tensor)).collect();
        alignment
    }
}

/// The order of axes of `tensor`, and its error. Where no order gives the shape, the values are compared as they lie.
fn layout_of(golden: &ArrayD<f64>, tensor: &ArrayD<f64>) -> (Option<Vec<usize>>, f64) {
    match layout::best(golden, tensor) {
        Some(Layout { axes, error }) => (Some(axes), error),
        None => (None, layout::flat_error(golden, tensor)),
    }
}

impl Match {
    /// `values` of the tensor in the layout of the stage, which has this `shape`; in their own shape where they are not as many.
    pub(crate) fn arranged(&self, values: ArrayD<f64>, shape: &[usize]) -> ArrayD<f64> {
        let turned = match &self.axes {
            Some(axes) => {
                let turned = layout::squeezed(&values).permuted_axes(IxDyn(axes));
                turned.as_standard_layout().into_owned()
            }
            None => values,
        };
        let arranged = turned.to_shape(shape).map(|values| values.into_owned());
        arranged.unwrap_or(turned)
    }
}

#[cfg(test)]
mod tests;
