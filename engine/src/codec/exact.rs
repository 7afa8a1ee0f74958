//! Types whose values are what is written of them.

use std::any::TypeId;

/// Whether values of `T` are equal exactly if the same bytes are written of them, come back as they
/// went in, and hold on to nothing. Known for the most common types of keys; `false` says nothing.
pub(crate) fn is_exact<T: ?Sized + 'static>() -> bool {
    macro_rules! any_of {
        ($($exact:ty),*) => {
            [$(TypeId::of::<$exact>()),*].contains(&TypeId::of::<T>())
        };
    }
    any_of!(
        (),
        bool,
        char,
        str,
        String,
        u8,
        u16,
        u32,
        u64,
        u128,
        usize,
        i8,
        i16,
        i32,
        i64,
        i128,
        isize
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message_pack;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use std::fmt::Debug;

    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(values: &[T]) {
        assert!(is_exact::<T>());
        for one in values {
            let bytes = message_pack::encode(one).unwrap();
            assert_eq!(&message_pack::decode::<T>(&bytes).unwrap(), one);
            for other in values {
                let others = message_pack::encode(other).unwrap();
                assert_eq!(bytes == others, one == other, "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn values_of_exact_types_are_equal_as_their_bytes_are() {
        check(&[()]);
        check(&[false, true]);
        check(&['\0', 'a', 'ä', '\u{10FFFF}']);
        check(&["", "a", "A", "ä", "a\u{308}"].map(str::to_owned));
        check(&[0, 1, 127, 128, u8::MAX]);
        check(&[0, 255, 256, u16::MAX]);
        check(&[0, 65_535, 65_536, u32::MAX]);
        check(&[0, 1 << 32, u64::MAX]);
        check(&[0, 1 << 64, u128::MAX]);
        check(&[0, 1, usize::MAX]);
        check(&[i8::MIN, -1, 0, i8::MAX]);
        check(&[i16::MIN, -129, -1, 0, i16::MAX]);
        check(&[i32::MIN, -1, 0, i32::MAX]);
        check(&[i64::MIN, -33, -32, -1, 0, i64::MAX]);
        check(&[i128::MIN, -1, 0, i128::MAX]);
        check(&[isize::MIN, -1, 0, isize::MAX]);
    }

    #[test]
    fn a_borrowed_key_is_as_exact_as_an_owned_one() {
        assert!(is_exact::<str>());
    }

    #[test]
    fn of_other_types_nothing_is_known() {
        assert!(!is_exact::<f64>());
        assert!(!is_exact::<Option<Option<u8>>>());
        assert!(!is_exact::<(String, String)>());
    }
}
