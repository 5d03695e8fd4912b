//! `to_bundle SOURCE [BUNDLE]`: converts a file and prints its tensors, for `reference/check_bundles.py`.

#![allow(clippy::print_stdout)]

use std::path::Path;

fn main() -> Result<(), soundalike_convert::Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, rest @ ..] = &args[..] else {
        return Ok(());
    };
    let conversion = soundalike_convert::convert(Path::new(source))?;
    if let [bundle] = rest {
        conversion.bundle.save(Path::new(bundle))?;
    }
    println!("{:#?}", conversion.bundle.architecture());
    println!("{:#?}", conversion.bundle.specifications());
    println!(
        "{:?} {:?}",
        conversion.bundle.source(),
        conversion.bundle.notes()
    );
    for tensor in conversion.bundle.tensors() {
        let origin = &conversion.origins[tensor.name];
        println!(
            "{} {:?} {} {origin}",
            tensor.name, tensor.shape, tensor.dtype
        );
    }
    println!(
        "{} {:?}",
        conversion.bundle.sha256(),
        conversion.foreign_globals
    );
    Ok(())
}
