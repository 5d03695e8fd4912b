//! The kernels in a source.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::c_void,
    io::Write,
    process::{Command, Stdio},
    ptr::NonNull,
};

use objc2::{rc::Retained, runtime::ProtocolObject};
use objc2_foundation::{NSError, NSString};

use crate::{MTLDataType, Object};

/// A kernel, and what a launch must bring, as far as its source says so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    /// Where it has its arguments.
    pub(crate) buffers: BTreeSet<usize>,
    /// How many of them are memory that a threadgroup shares.
    pub(crate) shared: usize,
}

impl Kernel {
    /// From its declaration: `name(arguments)`.
    fn declared(declaration: &str) -> Option<Self> {
        let (name, arguments) = declaration.split_once('(')?;
        let slots = arguments.split("[[buffer(").skip(1);
        let slots = slots.filter_map(|slot| slot.split(')').next()?.parse().ok());
        let arguments = arguments.split(',').map(str::trim_start);
        Some(Self {
            name: name.trim().to_owned(),
            buffers: slots.collect(),
            shared: arguments
                .filter(|argument| argument.starts_with("threadgroup "))
                .count(),
        })
    }
}

/// The kernels in `source`, once a C preprocessor has expanded the macros that write most of them.
pub(crate) fn kernels(source: &str) -> Result<BTreeMap<String, Kernel>, String> {
    // Apple's headers are not here, and define no kernels.
    let own = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("#include"));
    let own = own.collect::<Vec<_>>().join("\n");
    // As on macOS 14 and later: with bfloat.
    let mut preprocessor = Command::new("cc")
        .args([
            "-E",
            "-P",
            "-w",
            "-x",
            "c++",
            "-D__HAVE_BFLOAT__",
            "-D__METAL_VERSION__=310",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cc: {error}"))?;
    let mut stdin = preprocessor.stdin.take().ok_or("cc takes no input")?;
    let writer = std::thread::spawn(move || stdin.write_all(own.as_bytes()));
    let output = preprocessor
        .wait_with_output()
        .map_err(|error| format!("cc: {error}"))?;
    let written = writer.join().is_ok_and(|written| written.is_ok());
    if !written || !output.status.success() {
        return Err("cc did not preprocess a Metal source".to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // [[host_name("gemm_" "nn")]], whose parts C joins.
    let named = text.split("host_name(").skip(1).map(|rest| {
        let quoted = rest.split(')').next().unwrap_or_default();
        let name = quoted.split('"').skip(1).step_by(2).collect();
        Kernel {
            name,
            ..Kernel::default()
        }
    });
    // kernel void name( or [[kernel]] void name(
    let plain = text.split("void ").zip(text.split("void ").skip(1));
    let plain = plain.filter(|(before, _)| {
        let before = before.trim_end();
        before.ends_with("kernel") || before.ends_with("[[kernel]]")
    });
    let plain = plain.filter_map(|(_, after)| Kernel::declared(after.split('{').next()?));
    let kernels = named.chain(plain);
    Ok(kernels
        .map(|kernel| (kernel.name.clone(), kernel))
        .collect())
}

pub trait MTLFunction {}

pub trait MTLLibrary {
    fn newFunctionWithName(&self, name: &NSString) -> Option<Object<dyn MTLFunction>>;
    fn newFunctionWithName_constantValues_error(
        &self,
        name: &NSString,
        _: &MTLFunctionConstantValues,
    ) -> Result<Object<dyn MTLFunction>, Retained<NSError>> {
        let found = self.newFunctionWithName(name);
        found.ok_or_else(|| NSError::new(&format!("no kernel {name}")))
    }
}

impl MTLLibrary for ProtocolObject<dyn MTLLibrary> {
    fn newFunctionWithName(&self, name: &NSString) -> Option<Object<dyn MTLFunction>> {
        let kernels: &BTreeMap<String, Kernel> = self.state();
        let kernel = kernels.get(&name.to_string())?;
        Some(ProtocolObject::retained(kernel.clone()))
    }
}

pub struct MTLFunctionConstantValues;

impl MTLFunctionConstantValues {
    #[allow(clippy::new_ret_no_self, reason = "Apple's objects are counted")]
    pub fn new() -> Retained<Self> {
        Retained::new(Self)
    }
    pub unsafe fn setConstantValue_type_atIndex(
        &self,
        _: NonNull<c_void>,
        _: MTLDataType,
        _: usize,
    ) {
    }
}
