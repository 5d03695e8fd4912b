//! Harmless, unknown and hostile names in a pickle.

use super::Global;

/// Modules that run programs, load code, or access files and the network. A checkpoint needs none of them.
const HOSTILE_MODULES: &[&str] = &[
    "_frozen_importlib",
    "_frozen_importlib_external",
    "_io",
    "_posixsubprocess",
    "_pyrepl",
    "_socket",
    "_thread",
    "_winapi",
    "aiohttp",
    "asyncio",
    "bdb",
    "cProfile",
    "cffi",
    "cloudpickle",
    "code",
    "codeop",
    "commands",
    "concurrent",
    "ctypes",
    "dill",
    "distutils",
    "doctest",
    "ensurepip",
    "fileinput",
    "ftplib",
    "glob",
    "http",
    "httplib",
    "idlelib",
    "imp",
    "importlib",
    "inspect",
    "io",
    "joblib",
    "lib2to3",
    "linecache",
    "logging",
    "mailcap",
    "marshal",
    "multiprocessing",
    "nt",
    "ntpath",
    "os",
    "pdb",
    "pickle",
    "_pickle",
    "cPickle",
    "pip",
    "pkgutil",
    "platform",
    "popen2",
    "posix",
    "posixpath",
    "profile",
    "pty",
    "pydoc",
    "requests",
    "runpy",
    "shelve",
    "shutil",
    "signal",
    "site",
    "smtplib",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "test",
    "threading",
    "timeit",
    "trace",
    "types",
    "urllib",
    "urllib2",
    "urllib3",
    "uuid",
    "venv",
    "webbrowser",
    "xmlrpc",
    "zipimport",
];

/// Functions of other modules that call functions, import code or access attributes.
const HOSTILE_FUNCTIONS: &[(&str, &str)] = &[
    ("_operator", "attrgetter"),
    ("_operator", "methodcaller"),
    ("functools", "partial"),
    ("functools", "reduce"),
    ("numpy", "load"),
    ("numpy.f2py.crackfortran", "getlincoef"),
    ("numpy.testing._private.utils", "runstring"),
    ("operator", "attrgetter"),
    ("operator", "methodcaller"),
    ("torch", "compile"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.hub", "load_state_dict_from_url"),
    ("torch.jit", "load"),
    ("torch.package", "PackageImporter"),
    ("torch.serialization", "load"),
    ("torch.utils.collect_env", "run"),
    ("torch.utils._config_module", "load_config"),
];

/// Builtins that only create values.
const HARMLESS_BUILTINS: &[&str] = &[
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "long",
    "object",
    "set",
    "slice",
    "str",
    "tuple",
    "unicode",
];

/// Packages whose data classes occur in checkpoints.
const KNOWN_PACKAGES: &[&str] = &[
    "lightning",
    "lightning_fabric",
    "numpy",
    "omegaconf",
    "pyannote",
    "pytorch_lightning",
    "torch",
    "torch_audiomentations",
    "torchmetrics",
];

/// Names of the standard library that occur in checkpoints.
const KNOWN_GLOBALS: &[(&str, &str)] = &[
    ("_codecs", "encode"),
    ("argparse", "Namespace"),
    ("collections", "Counter"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("collections", "deque"),
    ("copy_reg", "_reconstructor"),
    ("copyreg", "_reconstructor"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),
    ("typing", "Any"),
];

fn is_builtins(module: &str) -> bool {
    matches!(module, "builtins" | "__builtin__" | "__builtins__")
}

pub(super) fn package(module: &str) -> &str {
    module.split('.').next().unwrap_or(module)
}

/// Whether a call of this is an attack.
pub(crate) fn is_hostile(global: &Global) -> bool {
    let Global { module, name } = global;
    if is_builtins(module) {
        return !HARMLESS_BUILTINS.contains(&&**name) && !is_exception(name);
    }
    // A dotted name may lead from a harmless module to a hostile one: `collections.abc.sys.modules`.
    let walks = name
        .split('.')
        .any(|part| HOSTILE_MODULES.contains(&part) || part.starts_with("__"));
    walks
        || HOSTILE_MODULES.contains(&package(module))
        || HOSTILE_FUNCTIONS.contains(&(&**module, &**name))
}

/// Whether this is known to occur in checkpoints. Other names are reported. Neither kind is called.
pub(crate) fn is_known(global: &Global) -> bool {
    let Global { module, name } = global;
    if is_hostile(global) {
        return false;
    }
    is_builtins(module)
        || KNOWN_PACKAGES.contains(&package(module))
        || KNOWN_GLOBALS.contains(&(&**module, &**name))
}

fn is_exception(name: &str) -> bool {
    name.ends_with("Error") || name.ends_with("Exception") || name.ends_with("Warning")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(dotted: &str) -> Global {
        let (module, name) = dotted.split_once(':').unwrap();
        Global {
            module: module.into(),
            name: name.into(),
        }
    }

    #[test]
    fn functions_that_run_things_are_hostile() {
        for dotted in [
            "os:system",
            "posix:system",
            "nt:system",
            "subprocess:Popen",
            "subprocess:check_output",
            "builtins:eval",
            "__builtin__:eval",
            "builtins:exec",
            "builtins:getattr",
            "builtins:__import__",
            "importlib:import_module",
            "runpy:_run_code",
            "pty:spawn",
            "sys:modules",
            "torch.hub:load",
            "torch:load",
            "functools:partial",
            "operator:attrgetter",
            "collections:abc.sys.modules",
            "torch:os.system",
            "os.path:join",
            "numpy:__class__.__base__",
            "builtins:open",
            "io:open",
            "ctypes:CDLL",
        ] {
            assert!(is_hostile(&global(dotted)), "{dotted}");
            assert!(!is_known(&global(dotted)), "{dotted}");
        }
    }

    #[test]
    fn classes_of_real_checkpoints_are_known() {
        for dotted in [
            "collections:OrderedDict",
            "collections:defaultdict",
            "torch:FloatStorage",
            "torch._utils:_rebuild_tensor_v2",
            "torch.torch_version:TorchVersion",
            "omegaconf.listconfig:ListConfig",
            "omegaconf.base:Metadata",
            "typing:Any",
            "pyannote.audio.core.task:Specifications",
            "__builtin__:long",
            "__builtin__:dict",
        ] {
            assert!(is_known(&global(dotted)), "{dotted}");
        }
    }

    #[test]
    fn only_exceptions_among_the_builtins_are_harmless_by_their_name() {
        for name in ["ValueError", "StopIterationException", "UserWarning"] {
            assert!(!is_hostile(&global(&format!("builtins:{name}"))), "{name}");
        }
        for name in ["Errors", "compile", "input"] {
            assert!(is_hostile(&global(&format!("builtins:{name}"))), "{name}");
        }
    }

    #[test]
    fn other_classes_are_neither() {
        let other = global("my_project.models:Encoder");
        assert!(!is_known(&other) && !is_hostile(&other));
    }
}
