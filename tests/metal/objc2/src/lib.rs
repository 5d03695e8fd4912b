//! As much of `objc2` as candle uses.

pub mod rc {
    use std::{
        fmt,
        hash::{Hash, Hasher},
        ops::Deref,
        sync::Arc,
    };

    /// A counted reference, equal to itself alone.
    pub struct Retained<T>(Arc<T>);

    impl<T> Retained<T> {
        pub fn new(value: T) -> Self {
            Self(Arc::new(value))
        }

        pub fn as_ptr(this: &Self) -> *const T {
            Arc::as_ptr(&this.0)
        }
    }

    impl<T> Clone for Retained<T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> Deref for Retained<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T> fmt::Debug for Retained<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:p}", Self::as_ptr(self))
        }
    }

    impl<T: fmt::Display> fmt::Display for Retained<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    impl<T> PartialEq for Retained<T> {
        fn eq(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }
    }

    impl<T> Hash for Retained<T> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            Self::as_ptr(self).hash(state);
        }
    }
}

pub mod runtime {
    use std::{any::Any, marker::PhantomData};

    use crate::rc::Retained;

    /// Any object.
    pub struct AnyObject;

    /// An object of the protocol `P`, and what there is to know of it.
    #[repr(C)]
    pub struct ProtocolObject<P: ?Sized> {
        state: Box<dyn Any + Send + Sync>,
        protocol: PhantomData<P>,
    }

    impl<P: ?Sized> ProtocolObject<P> {
        pub fn retained<S: Send + Sync + 'static>(state: S) -> Retained<Self> {
            Retained::new(Self {
                state: Box::new(state),
                protocol: PhantomData,
            })
        }

        /// What [`Self::retained`] was given.
        pub fn state<S: 'static>(&self) -> &S {
            self.state.downcast_ref().expect("an object made here")
        }

        pub fn from_ref<Q: ?Sized>(other: &ProtocolObject<Q>) -> &Self {
            // SAFETY: the protocol is a marker, and the layout that of C.
            unsafe { &*std::ptr::from_ref(other).cast() }
        }
    }
}

/// The newest system there is.
#[macro_export]
macro_rules! available {
    ($($system:tt)*) => {
        true
    };
}

/// candle sends one message by name, to see whether a device has an architecture: it has.
#[macro_export]
macro_rules! msg_send {
    ($object:expr, architecture) => {{
        let _ = $object;
        std::ptr::NonNull::<$crate::runtime::AnyObject>::dangling()
            .as_ptr()
            .cast_const()
    }};
}
