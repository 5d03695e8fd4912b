//! The project's own sample is worth testing with.

use std::{collections::BTreeSet, path::Path};

use soundalike_diarize::{
    DiarizeOptions, Diarizer, Overrides, Recording, audio::Audio, segmentation::Segmenter,
};
use soundalike_model::{Engine, NoProbe};

fn sample() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/sample.wav")
}

#[test]
fn one_diarizer_serves_several_threads() {
    let bundle = soundalike_weights::segmentation().expect("the embedded bundle opens");
    let diarizer = Diarizer::built_in(&bundle, &Overrides::default(), &Engine::default())
        .expect("a powerset network");
    let turns = || {
        let mut recording = Recording::open(&sample(), diarizer.sample_rate()).expect("the sample");
        let options = DiarizeOptions::default();
        let result = diarizer.diarize("sample", &mut recording, &options, &mut |_| {});
        result.expect("the forward passes").turns
    };
    let alone = turns();
    assert!(alone.turns().len() > 2);
    std::thread::scope(|scope| {
        for thread in [scope.spawn(turns), scope.spawn(turns)] {
            assert_eq!(thread.join().expect("no panic"), alone);
        }
    });
}

#[test]
fn the_network_shows_at_least_five_of_its_seven_classes() {
    let bundle = soundalike_weights::segmentation().expect("the embedded bundle opens");
    let segmenter = Segmenter::new(&bundle, &Engine::default()).expect("a powerset network");
    let audio = Audio::read(&sample(), segmenter.sample_rate()).expect("the sample");
    // The first window has them all, so that a short comparison sees them too.
    let scores = segmenter
        .scores(&audio.samples, 0..1, &mut NoProbe)
        .expect("the forward pass");
    let classes: BTreeSet<Vec<bool>> = scores
        .outer_iter()
        .flat_map(|window| {
            segmenter
                .powerset()
                .decode(window)
                .outer_iter()
                .map(|frame| frame.mapv(|x| x > 0.0).to_vec())
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(classes.len() >= 5, "{classes:?}");
}
