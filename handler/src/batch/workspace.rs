use std::{
    fmt, mem,
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

use kpl_deaggregation::{ChecksumVerifier, Deaggregator, VectorInstructions};

use super::payload_decoder::{DecoderLists, DecoderMemory, GROUP_BYTES};
use crate::event::KinesisRecord;

/// Larger buffers are given back to the system: the payloads of a Lambda event have less than 4.5 MB.
const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Size of the first buffer: that of a group of Kinesis records with data of up to 50 KB, as producers aggregate it.
const RESERVED_BYTES: usize = GROUP_BYTES + 64 * 1024;

/// Longer lists are given back to the system: the largest `BatchSize`.
const MAX_KEPT_RECORDS: usize = 10_000;

/// The memory that an invocation needs. It is kept for the next one, because fresh memory would be faulted in page by page
/// every time.
#[derive(Default)]
pub(crate) struct Workspace {
    /// Decoded payloads, with arbitrary content.
    pub(crate) buffer: Vec<u8>,
    pub(crate) records: Vec<KinesisRecord<'static>>,
    pub(crate) lists: DecoderLists<'static>,
    pub(crate) verifier: ChecksumVerifier,
    /// Absent while an invocation uses it, and after one that was cancelled.
    pub(crate) deaggregator: Option<Deaggregator>,
}

impl Workspace {
    fn new(instructions: VectorInstructions) -> Self {
        let verifier = ChecksumVerifier::with_vector_instructions(instructions);
        Workspace { verifier, ..Workspace::default() }
    }

    /// Returns a buffer of at least this size.
    pub(crate) fn sized(buffer: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
        if buffer.len() < bytes {
            buffer.resize(bytes, 0);
        }
        buffer
    }

    /// Lends the memory of a decoder, whose lists are taken back with [`PayloadDecoder::into_lists`].
    ///
    /// [`PayloadDecoder::into_lists`]: super::payload_decoder::PayloadDecoder::into_lists
    pub(crate) fn decoder_memory(&mut self) -> DecoderMemory<'_> {
        let (payloads, checksums) = mem::take(&mut self.lists);
        let lists = (recycled(payloads), checksums);
        DecoderMemory { buffer: &mut self.buffer, verifier: &mut self.verifier, lists }
    }

    /// Gives back what is larger than usual.
    fn shrink(&mut self) {
        if self.buffer.len() > MAX_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        if self.records.capacity() > MAX_KEPT_RECORDS {
            self.records = Vec::new();
        }
        if self.lists.0.capacity() > MAX_KEPT_RECORDS {
            self.lists = DecoderLists::default();
        }
    }
}

/// Shows the sizes.
impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace")
            .field("buffer", &format_args!("{} bytes", self.buffer.len()))
            .field("records", &self.records.capacity())
            .finish_non_exhaustive()
    }
}

/// Returns the memory of a list as an empty list of another type, which differs in its lifetime.
pub(crate) fn recycled<T, U>(mut list: Vec<T>) -> Vec<U> {
    list.clear();
    // Collecting an iterator over a list keeps the list's memory if the types have the same layout.
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

/// The workspaces that no invocation uses: as many as there were invocations at once.
#[derive(Debug, Default)]
pub(crate) struct Workspaces {
    instructions: VectorInstructions,
    free: Mutex<Vec<Workspace>>,
}

impl Workspaces {
    pub(crate) fn new(instructions: VectorInstructions) -> Self {
        // Reserved before the first event, because amid the memory of one it would keep the next from the same place. Memory that
        // is not written takes no room.
        let first = Workspace { buffer: Vec::with_capacity(RESERVED_BYTES), ..Workspace::new(instructions) };
        Workspaces { instructions, free: Mutex::new(vec![first]) }
    }

    pub(crate) fn take(&self) -> BorrowedWorkspace<'_> {
        let workspace = self.lock().pop().unwrap_or_else(|| Workspace::new(self.instructions));
        BorrowedWorkspace { workspaces: self, workspace }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Workspace>> {
        // A panic elsewhere leaves a list that is as good as before.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A workspace that is returned at the end of its invocation, also if the invocation is cancelled.
#[derive(Debug)]
pub(crate) struct BorrowedWorkspace<'w> {
    workspaces: &'w Workspaces,
    workspace: Workspace,
}

impl Deref for BorrowedWorkspace<'_> {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}

impl DerefMut for BorrowedWorkspace<'_> {
    fn deref_mut(&mut self) -> &mut Workspace {
        &mut self.workspace
    }
}

impl Drop for BorrowedWorkspace<'_> {
    fn drop(&mut self) {
        let mut workspace = mem::take(&mut self.workspace);
        workspace.shrink();
        self.workspaces.lock().push(workspace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_unless_it_is_huge() {
        let workspaces = Workspaces::default();
        let buffer_bytes = |bytes| Workspace::sized(&mut workspaces.take().buffer, bytes).len();
        assert_eq!(buffer_bytes(100), 100);
        assert_eq!(buffer_bytes(50), 100);
        // The largest event that Lambda delivers.
        assert_eq!(buffer_bytes(6 * 1024 * 1024), 6 * 1024 * 1024);
        assert_eq!(buffer_bytes(0), 6 * 1024 * 1024);
        assert_eq!(buffer_bytes(MAX_KEPT_BYTES + 1), MAX_KEPT_BYTES + 1);
        assert_eq!(buffer_bytes(0), 0);

        workspaces.take().records = Vec::with_capacity(MAX_KEPT_RECORDS);
        assert_eq!(workspaces.take().records.capacity(), MAX_KEPT_RECORDS);
        workspaces.take().records = Vec::with_capacity(MAX_KEPT_RECORDS + 1);
        assert_eq!(workspaces.take().records.capacity(), 0);
    }

    #[test]
    fn a_recycled_list_has_the_memory_of_the_old_one() {
        let list: Vec<&'static [u8]> = vec![b"old"; 100];
        let before = list.as_ptr().addr();
        let text = b"new".to_vec();
        let mut list: Vec<&[u8]> = recycled(list);
        list.push(&text);
        assert_eq!((list.as_ptr().addr(), list.capacity(), &list[..]), (before, 100, &[&b"new"[..]][..]));
    }
}
