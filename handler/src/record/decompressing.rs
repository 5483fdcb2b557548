use std::{borrow::Cow, sync::OnceLock};

use crate::{
    ChunkOutcome, ChunkProcessor, PayloadError, ProcessError, Record, RecordProcessor, WindowProcessor,
    compression::{Compression, DecompressionError},
    event::TumblingWindow,
    record::{BatchRecord, RecordSource},
};

/// Whether the crate is compiled with any format of compressed payloads.
pub(crate) const DECOMPRESSES: bool = cfg!(any(feature = "gzip", feature = "zstd"));

/// The decompressed data of a record, from the first time on that it is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct DecompressedData(OnceLock<Result<Vec<u8>, DecompressionError>>);

/// A record of a batch whose payload is decompressed when it is read.
pub(crate) struct DecompressingRecord<'a> {
    pub(crate) record: BatchRecord<'a>,
    /// It lives as long as the call of the processor, so what is read may borrow from it.
    pub(crate) decompressed: DecompressedData,
}

impl<'a> DecompressingRecord<'a> {
    fn new(record: Record<'a>) -> Self {
        DecompressingRecord { record: record.parts(), decompressed: DecompressedData::default() }
    }

    fn as_record(&self) -> Record<'_> {
        Record::decompressing(self)
    }
}

/// A processor whose records are decompressed when it reads them. It surrounds the user's processor only if the option is on, so
/// that records cost nothing otherwise.
pub(crate) struct Decompressing<'p, P> {
    pub(crate) processor: &'p P,
}

impl<P: RecordProcessor> RecordProcessor for Decompressing<'_, P> {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let record = DecompressingRecord::new(record);
        self.processor.process(record.as_record()).await
    }
}

impl<P: ChunkProcessor> ChunkProcessor for Decompressing<'_, P> {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        let chunk: Vec<_> = chunk.iter().copied().map(DecompressingRecord::new).collect();
        let records: Vec<_> = chunk.iter().map(DecompressingRecord::as_record).collect();
        self.processor.process(&records).await
    }
}

impl<P: WindowProcessor> WindowProcessor for Decompressing<'_, P> {
    type State = P::State;

    async fn process(&self, record: Record<'_>, state: &mut P::State) -> Result<(), ProcessError> {
        let record = DecompressingRecord::new(record);
        self.processor.process(record.as_record(), state).await
    }

    async fn finish(&self, state: &P::State, window: &TumblingWindow<'_>) -> Result<(), ProcessError> {
        self.processor.finish(state, window).await
    }
}

impl<'a> Record<'a> {
    /// Returns what the data decompresses to, or the data itself if it does not begin as gzip, zlib or zstd do.
    ///
    /// It needs no option. With the option [`decompress`](crate::OptionsBuilder::decompress), a payload is decompressed once only, and
    /// [`json`](Self::json) and its like read the same. [`data`](Self::data) is always the payload as it is.
    ///
    /// ```
    /// # use kinesis_handler::{ProcessError, Record};
    /// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    ///     let lines = record.decompressed()?.split(|&byte| byte == b'\n').count();
    ///     kinesis_handler::tracing::info!(lines, "received");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PayloadError::Compression`]: a payload that is truncated or corrupt, that decompresses to more than
    /// [`max_decompressed_bytes`](crate::OptionsBuilder::max_decompressed_bytes) or
    /// [`max_decompression_ratio`](crate::OptionsBuilder::max_decompression_ratio), or whose format is not compiled in.
    pub fn decompressed(&self) -> Result<Cow<'a, [u8]>, PayloadError> {
        if self.decompressed_data().is_some() {
            return self.payload().map(Cow::Borrowed);
        }
        match Compression::detect(self.data()) {
            None => Ok(Cow::Borrowed(self.data())),
            Some(compression) => Ok(Cow::Owned(self.decompress(compression)?)),
        }
    }

    /// Returns what the processor reads: the data, or what it decompresses to.
    #[inline]
    pub(crate) fn payload(&self) -> Result<&'a [u8], PayloadError> {
        match self.0 {
            RecordSource::Batch(record) => Ok(record.data),
            RecordSource::Owned(_) | RecordSource::Decompressing(_) => self.transparent_payload(),
        }
    }

    fn transparent_payload(&self) -> Result<&'a [u8], PayloadError> {
        let data = self.data();
        let Some(DecompressedData(decompressed)) = self.decompressed_data() else { return Ok(data) };
        let Some(compression) = Compression::detect(data) else { return Ok(data) };
        match decompressed.get_or_init(|| self.decompress(compression)) {
            Ok(decompressed) => Ok(decompressed),
            Err(error) => Err(error.clone().into()),
        }
    }

    /// Decompresses zlib that is a part of the data.
    pub(crate) fn decompress_zlib(&self, data: &[u8]) -> Result<Vec<u8>, DecompressionError> {
        Compression::Zlib.decompress(data, self.parts().invocation.decompression)
    }

    fn decompress(&self, compression: Compression) -> Result<Vec<u8>, DecompressionError> {
        compression.decompress(self.data(), self.parts().invocation.decompression)
    }
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use std::io::Write;

    use flate2::{Compression as Level, write::GzEncoder};

    use super::*;
    use crate::OwnedRecord;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::default());
        encoder.write_all(data).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    #[test]
    fn json_text_and_values_are_read_from_what_a_payload_decompresses_to() {
        let record = OwnedRecord::new(gzip(b"[\"a\"]")).decompressing();
        let record = record.as_record();
        assert_eq!(record.json::<Vec<&str>>(), Ok(vec!["a"]));
        assert_eq!(record.text(), Ok("[\"a\"]"));
        assert_eq!(record.decompressed(), Ok(Cow::Borrowed(&b"[\"a\"]"[..])));
        assert_eq!(OwnedRecord::new(gzip(b"-5")).decompressing().as_record().parse(), Ok(-5));
        // Through a copy, too.
        assert_eq!(record.to_owned_record().as_record().text(), Ok("[\"a\"]"));
    }

    #[test]
    fn items_and_headers_are_read_from_what_a_payload_decompresses_to() {
        let record = |payload: &[u8]| OwnedRecord::new(gzip(payload)).decompressing();
        let documents = record(b"1\n2");
        let documents = documents.as_record().json_documents::<u32>().expect("gzip");
        assert_eq!(documents.collect::<Vec<_>>(), [Ok(1), Ok(2)]);
        let confluent = record(b"\0\0\0\x01\x02data");
        assert_eq!(confluent.as_record().confluent_schema().map(|schema| schema.schema_id), Ok(258));
        let glue = record(&[&[3, 0][..], &[7; 16], b"data"].concat());
        assert_eq!(
            glue.as_record().glue_schema().map(|schema| schema.data.into_owned()),
            Ok(b"data".to_vec())
        );
    }

    #[cfg(feature = "protobuf")]
    #[test]
    fn protobuf_messages_are_read_from_what_a_payload_decompresses_to() {
        // A string in field 1.
        let record = OwnedRecord::new(gzip(b"\x0a\x01n")).decompressing();
        assert_eq!(record.as_record().protobuf::<String>(), Ok("n".to_owned()));
    }

    #[test]
    fn payloads_are_read_as_they_are_without_the_option() {
        let record = OwnedRecord::new(gzip(b"[]"));
        let record = record.as_record();
        assert!(record.json::<Vec<&str>>().is_err());
        assert_eq!(record.decompressed(), Ok(Cow::Borrowed(&b"[]"[..])));
    }

    #[test]
    fn a_payload_that_is_not_compressed_is_read_as_it_is() {
        let record = OwnedRecord::new("[]").decompressing();
        let record = record.as_record();
        assert_eq!((record.text(), record.decompressed()), (Ok("[]"), Ok(Cow::Borrowed(&b"[]"[..]))));
    }

    #[test]
    fn a_fault_is_a_permanent_error_whatever_reads_the_payload() {
        let payload = gzip(b"secret");
        let record = OwnedRecord::new(&payload[..20]).decompressing();
        let record = record.as_record();
        let errors = [
            record.text().map(drop),
            record.json::<u32>().map(drop),
            record.parse::<u32>().map(drop),
            record.decompressed().map(drop),
        ];
        for error in errors {
            let error = ProcessError::from(error.expect_err("truncated"));
            assert_eq!(format!("{error:?}"), "permanent(gzip payload is truncated (it ends after 20 bytes))");
        }
    }
}
