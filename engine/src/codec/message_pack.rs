//! The default codec of state and typed input: MessagePack with named fields. A struct may gain a
//! field (`#[serde(default)]`) or lose one, and old bytes still load. Other compact formats refuse
//! that.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Name of the codec as checkpoints have it.
pub(crate) const NAME: &str = "msgpack-named";

/// Encodes `value`, appending to `out`.
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), rmp_serde::encode::Error> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    value.serialize(&mut serializer)
}

/// Encodes `value`.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Decodes a value that fills `bytes` exactly.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::new(bytes);
    let value = T::deserialize(&mut deserializer).map_err(|e| e.to_string())?;
    match deserializer.get_ref().len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes are left after the value")),
    }
}

/// Decodes as [`decode`] does, and calls `ignored` with the path of every field that the type does
/// not have.
pub(crate) fn decode_noting<T: DeserializeOwned>(
    bytes: &[u8],
    ignored: &mut dyn FnMut(String),
) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::new(bytes);
    let value: T = serde_ignored::deserialize(&mut deserializer, |path| ignored(path.to_string()))
        .map_err(|e| e.to_string())?;
    match deserializer.get_ref().len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes are left after the value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize)]
    struct Old {
        clicks: u32,
        gone: String,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct New {
        clicks: u64,
        #[serde(default)]
        added: bool,
    }

    #[test]
    fn a_struct_may_gain_and_lose_fields() {
        let bytes = encode(&Old {
            clicks: 7,
            gone: "x".into(),
        })
        .unwrap();
        assert_eq!(
            decode::<New>(&bytes).unwrap(),
            New {
                clicks: 7,
                added: false
            }
        );
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let mut bytes = encode(&1_u64).unwrap();
        bytes.push(0);
        assert!(
            decode::<u64>(&bytes)
                .unwrap_err()
                .contains("1 bytes are left")
        );
    }
}
