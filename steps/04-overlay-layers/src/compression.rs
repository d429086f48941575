//! How a layer's tar is compressed: told by its first bytes, never by a media type or a file name, which may lie.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// Streams are read in pieces of this size: 8 KiB, the default of `BufReader`, costs a tenth of the speed and more.
pub(crate) const BUFFER: usize = 128 * 1024;

/// The largest window a zstd frame may ask for, as a power of two: 128 MiB, zstd's own default for unknown input.
/// A frame header can ask for terabytes in a few bytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A compression that layers come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar.
    None,
    /// RFC 1952; several members in a row count as one stream.
    Gzip,
    /// RFC 8878; skippable frames are skipped.
    Zstd,
}

impl Compression {
    /// Recognises a stream by its first four bytes (fewer for a shorter stream).
    ///
    /// # Errors
    /// Compressions that images do not use, by name.
    pub fn detect(start: &[u8]) -> Result<Self> {
        let unsupported = |name| {
            Err(Error::Stream(format!("it is compressed with {name}; layers are plain tar, gzip or zstd")))
        };
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
            [0xfd, b'7', b'z', b'X', ..] => unsupported("xz"),
            _ => Ok(Self::None),
        }
    }
}

/// The compressed stream: the bytes looked at to recognise it, then the rest.
type Source<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// A stream with its compression taken off.
pub(crate) enum Decoder<R: Read> {
    None(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(zstd::stream::read::Decoder<'static, Source<R>>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the start of the stream and chooses.
    pub(crate) fn new(mut stream: R) -> Result<Self> {
        let unreadable = |e: io::Error| Error::stream(&e);
        let mut start = Vec::with_capacity(4);
        stream.by_ref().take(4).read_to_end(&mut start).map_err(unreadable)?;
        let compression = Compression::detect(&start)?;
        let source = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(stream));
        Ok(match compression {
            Compression::None => Self::None(source),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(unreadable)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(unreadable)?;
                Self::Zstd(decoder)
            }
        })
    }

    pub(crate) fn compression(&self) -> Compression {
        match self {
            Self::None(_) => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(stream) => stream.read(buffer),
            Self::Gzip(stream) => stream.read(buffer),
            Self::Zstd(stream) => stream.read(buffer),
        }
    }
}
