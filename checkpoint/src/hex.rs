//! Fixed-width lower-case hexadecimal numbers in manifests: 64-bit and 128-bit values that JSON
//! readers would round.

pub(crate) fn parse_u64(text: &str) -> Option<u64> {
    canonical(text, 16)
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

fn parse_u128(text: &str) -> Option<u128> {
    canonical(text, 32)
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

fn parse_u32(text: &str) -> Option<u32> {
    canonical(text, 8)
        .then(|| u32::from_str_radix(text, 16).ok())
        .flatten()
}

fn canonical(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! serde_hex {
    ($module:ident, $type:ty, $parse:ident, $format:literal) => {
        /// For `#[serde(with)]`.
        pub(crate) mod $module {
            use serde::{Deserialize, Deserializer, Serializer, de::Error};
            use std::borrow::Cow;

            pub(crate) fn serialize<S: Serializer>(n: &$type, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(&format_args!($format, n))
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                let text = Cow::<'de, str>::deserialize(d)?;
                super::$parse(&text)
                    .ok_or_else(|| D::Error::custom(format!("{text:?} is no hexadecimal number")))
            }
        }
    };
}

serde_hex!(hex32, u32, parse_u32, "{:08x}");
serde_hex!(hex64, u64, parse_u64, "{:016x}");
serde_hex!(hex128, u128, parse_u128, "{:032x}");
