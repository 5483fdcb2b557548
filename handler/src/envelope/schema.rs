use std::{borrow::Cow, fmt};

use thiserror::Error;

use crate::{PayloadError, Record};

/// The first byte of a payload with a header of the AWS Glue Schema Registry.
const GLUE_VERSION: u8 = 3;

/// A payload without the header of a schema registry that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The payload is shorter than the header.
    #[error("payload of {bytes} bytes is shorter than a header of {registry} ({header_bytes} bytes)")]
    TooShort {
        /// Name of the registry.
        registry: &'static str,
        /// Length of the payload.
        bytes: usize,
        /// Length of the header.
        header_bytes: usize,
    },
    /// The payload begins with another byte.
    #[error("payload has no header of {registry}: expected byte {expected}, found {found}")]
    Version {
        /// Name of the registry.
        registry: &'static str,
        /// First byte of the header.
        expected: u8,
        /// First byte of the payload.
        found: u8,
    },
    /// The header names a compression that is not known.
    #[error("payload has a header of AWS Glue with compression {found}: expected 0 (none) or 5 (zlib)")]
    GlueCompression {
        /// The second byte of the payload.
        found: u8,
    },
}

/// The ID of a schema's version in the AWS Glue Schema Registry. Its text is that of a UUID, as Glue's API takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchemaVersionId(pub [u8; 16]);

impl fmt::Display for SchemaVersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A payload that a serializer of the AWS Glue Schema Registry has written.
///
/// Its header is a version (the byte 3), a compression (0 for none, 5 for zlib), and the ID of the schema's version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GlueSchema<'a> {
    /// ID of the schema's version.
    pub schema_version_id: SchemaVersionId,
    /// Data after the header, decompressed.
    pub data: Cow<'a, [u8]>,
}

/// A payload that a serializer of the Confluent Schema Registry has written.
///
/// Its header is the byte 0 and the schema's ID. For protobuf, the indexes of the message precede the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfluentSchema<'a> {
    /// ID of the schema.
    pub schema_id: u32,
    /// Data after the header.
    pub data: &'a [u8],
}

impl<'a> Record<'a> {
    /// Returns the ID of the schema's version, and the data, of a payload of the AWS Glue Schema Registry. To decode the data is
    /// left to a crate for Avro, JSON or protobuf.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Schema`] for a payload without such a header, and [`PayloadError::Compression`] for one that cannot be
    /// decompressed: it needs the feature `gzip`.
    pub fn glue_schema(&self) -> Result<GlueSchema<'a>, PayloadError> {
        let registry = "AWS Glue";
        let payload = self.payload()?;
        let Some((&[version, compression, ref id @ ..], data)) = payload.split_first_chunk::<18>() else {
            return Err(too_short(registry, payload, 18).into());
        };
        if version != GLUE_VERSION {
            return Err(SchemaError::Version { registry, expected: GLUE_VERSION, found: version }.into());
        }
        let data = match compression {
            0 => Cow::Borrowed(data),
            5 => Cow::Owned(self.decompress_zlib(data)?),
            found => return Err(SchemaError::GlueCompression { found }.into()),
        };
        Ok(GlueSchema { schema_version_id: SchemaVersionId(*id), data })
    }

    /// Returns the schema's ID, and the data, of a payload of the Confluent Schema Registry. To decode the data is left to a
    /// crate for Avro, JSON or protobuf.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Schema`] for a payload without such a header.
    pub fn confluent_schema(&self) -> Result<ConfluentSchema<'a>, PayloadError> {
        let registry = "Confluent";
        let payload = self.payload()?;
        let Some((&[version, ref id @ ..], data)) = payload.split_first_chunk::<5>() else {
            return Err(too_short(registry, payload, 5).into());
        };
        if version != 0 {
            return Err(SchemaError::Version { registry, expected: 0, found: version }.into());
        }
        Ok(ConfluentSchema { schema_id: u32::from_be_bytes(*id), data })
    }
}

fn too_short(registry: &'static str, payload: &[u8], header_bytes: usize) -> SchemaError {
    SchemaError::TooShort { registry, bytes: payload.len(), header_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OwnedRecord;

    const ID: [u8; 16] = *b"\xb7\xb4\xa7\xf0\x9c\x96\x4e\x4a\xa6\x87\xfb\x5d\xe9\xef\x0c\x63";

    fn glue(compression: u8, data: &[u8]) -> OwnedRecord {
        OwnedRecord::new([&[3, compression][..], &ID, data].concat())
    }

    #[test]
    fn the_header_of_glue_has_the_version_of_the_schema() {
        let record = glue(0, b"data");
        let schema = record.as_record().glue_schema().expect("a header");
        assert_eq!(schema.schema_version_id.to_string(), "b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63");
        assert_eq!(schema.data, Cow::Borrowed(b"data"));
        assert_eq!(glue(0, b"").as_record().glue_schema().map(|schema| schema.data.len()), Ok(0));
    }

    #[cfg(feature = "gzip")]
    #[test]
    fn data_after_the_header_of_glue_is_decompressed() {
        let zlib = b"\x78\x9c\x4b\x49\x2c\x49\x04\x00\x04\x00\x01\x9b";
        let record = glue(5, zlib);
        assert_eq!(record.as_record().glue_schema().map(|schema| schema.data), Ok(b"data"[..].into()));
        let error = glue(5, b"data").as_record().glue_schema().expect_err("no zlib");
        assert!(error.to_string().starts_with("zlib payload is corrupt: "), "{error}");
    }

    #[test]
    fn the_header_of_confluent_has_the_schema() {
        let record = OwnedRecord::new(b"\0\0\0\x01\x02data");
        let schema = record.as_record().confluent_schema().expect("a header");
        assert_eq!((schema.schema_id, schema.data), (258, &b"data"[..]));
    }

    #[test]
    fn a_payload_without_a_header_is_named() {
        let check = |error: PayloadError, expected: &str| assert_eq!(error.to_string(), expected);
        let short = OwnedRecord::new([3; 17]);
        check(
            short.as_record().glue_schema().expect_err("too short"),
            "payload of 17 bytes is shorter than a header of AWS Glue (18 bytes)",
        );
        check(
            glue(1, b"").as_record().glue_schema().expect_err("another compression"),
            "payload has a header of AWS Glue with compression 1: expected 0 (none) or 5 (zlib)",
        );
        let text = OwnedRecord::new("a text without a header");
        check(
            text.as_record().glue_schema().expect_err("text"),
            "payload has no header of AWS Glue: expected byte 3, found 97",
        );
        check(
            text.as_record().confluent_schema().expect_err("text"),
            "payload has no header of Confluent: expected byte 0, found 97",
        );
        check(
            OwnedRecord::new("").as_record().confluent_schema().expect_err("empty"),
            "payload of 0 bytes is shorter than a header of Confluent (5 bytes)",
        );
    }
}
