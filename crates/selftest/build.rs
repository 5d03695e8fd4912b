//! Writes into the tests where libtorch lies, where they are built with it (the feature `torch`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Told by the build script of soundalike-torch.
    if let Ok(directory) = std::env::var("DEP_SOUNDALIKE_TORCH_RPATH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
    }
}
