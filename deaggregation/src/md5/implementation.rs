//! Implementations of MD5, and the choice between them.

#![allow(unsafe_code, reason = "functions with target features are called after their detection")]

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use std::arch::is_aarch64_feature_detected;

use md5::{Digest, Md5};

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use super::neon;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use super::{lane, portable};
use crate::VectorInstructions;

/// A way to compute digests. All ways have the same results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Implementation {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon,
    Portable,
    /// One message after the other.
    Scalar,
}

impl Implementation {
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Implementation::Avx512,
        #[cfg(target_arch = "x86_64")]
        Implementation::Avx2,
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        Implementation::Neon,
        Implementation::Portable,
        Implementation::Scalar,
    ];

    /// Returns the implementations that this processor can run, the fastest one first.
    pub(super) fn available() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|implementation| implementation.is_available())
    }

    /// Returns the fastest implementation that this processor can run with these instructions.
    pub(super) fn fastest(instructions: VectorInstructions) -> Self {
        let is_permitted = |implementation: &Self| match instructions {
            VectorInstructions::All => true,
            #[cfg(target_arch = "x86_64")]
            VectorInstructions::Avx2 => *implementation != Implementation::Avx512,
            #[cfg(not(target_arch = "x86_64"))]
            VectorInstructions::Avx2 => true,
            VectorInstructions::None => *implementation == Implementation::Scalar,
        };
        Self::available().find(is_permitted).unwrap_or(Implementation::Scalar)
    }

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Implementation::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Implementation::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Implementation::Neon => is_aarch64_feature_detected!("neon"),
            Implementation::Portable | Implementation::Scalar => true,
        }
    }

    /// Returns the number of messages whose digests are computed at once.
    pub(super) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Implementation::Avx512 => avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Implementation::Avx2 => avx2::LANES,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Implementation::Neon => neon::LANES,
            Implementation::Portable => portable::LANES,
            Implementation::Scalar => 1,
        }
    }

    /// Computes the digests of messages. Each is passed to `digested` with the position of its message.
    ///
    /// An implementation that this processor cannot run is replaced by the portable one.
    pub(super) fn digest_all<'m>(
        self,
        messages: impl Iterator<Item = (usize, &'m [u8])>,
        mut digested: impl FnMut(usize, [u8; 16]),
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Implementation::Avx512 if is_x86_feature_detected!("avx512f") => lane::digest_all(
                // SAFETY: the function needs AVX-512F, which the guard of this arm has detected.
                |states, blocks| unsafe { avx512::compress(states, blocks) },
                avx512::MAX_SCALAR_MESSAGES,
                messages,
                digested,
            ),
            #[cfg(target_arch = "x86_64")]
            Implementation::Avx2 if is_x86_feature_detected!("avx2") => lane::digest_all(
                // SAFETY: the function needs AVX2, which the guard of this arm has detected.
                |states, blocks| unsafe { avx2::compress(states, blocks) },
                avx2::MAX_SCALAR_MESSAGES,
                messages,
                digested,
            ),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Implementation::Neon if is_aarch64_feature_detected!("neon") => lane::digest_all(
                // SAFETY: the function needs NEON, which the guard of this arm has detected.
                |states, blocks| unsafe { neon::compress(states, blocks) },
                neon::MAX_SCALAR_MESSAGES,
                messages,
                digested,
            ),
            Implementation::Scalar => {
                messages.for_each(|(position, message)| digested(position, Md5::digest(message).into()))
            }
            _ => lane::digest_all(portable::compress, portable::MAX_SCALAR_MESSAGES, messages, digested),
        }
    }
}
