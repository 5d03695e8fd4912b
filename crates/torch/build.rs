//! Writes into programs where libtorch lies, so that they start without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys says where it found libtorch; not without the feature, and not for Windows, where
    // programs cannot hold such a path.
    let Ok(directory) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    // An argument of the linker reaches the programs of its own package only: the tests here, and through
    // the metadata whatever package has a build script that repeats the first line.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
    println!("cargo::metadata=rpath={directory}");
}
