//! The connection tracking table of one network namespace, asked by netlink. The only place that makes system calls for
//! it, none of which waits: the kernel answers within `sendto`, so that everything there is can be read at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::message::{self, Protocol, Reply, Tuple};

/// Questions sent at once. The kernel takes a page for every answer, and the smallest receive buffer that a machine
/// gives by default holds 46 of them; what does not fit is lost.
const AT_ONCE: usize = 32;
/// More than one answer: the kernel makes none that is longer than a page.
const ANSWER_BYTES: usize = 8192;
/// Answers read behind one batch, whatever else may be in the socket.
const READS: usize = 4 * AT_ONCE;
/// `ENOENT`.
const NO_ENTRY: i32 = rustix::io::Errno::NOENT.raw_os_error();

/// What a table says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It leads there; the tuple is as the one who accepts sees it, and equals the question without a translation.
    Tracked(Tuple),
    /// Not in the table, or in it as the answering side of a connection.
    Untracked,
    /// Not told, with the errno; 0 when the answer is missing or not understood.
    Failed(i32),
}

/// Something that knows where connections lead.
pub trait Ask {
    /// The answers, one per question, in their order.
    fn ask(&mut self, questions: &[Tuple]) -> Vec<Answer>;
}

/// The table of the namespace in which it was opened.
#[derive(Debug)]
pub struct Table {
    socket: OwnedFd,
    sequence: u32,
    question: Vec<u8>,
    answer: Box<[u8]>,
}

impl Table {
    /// Opens a socket in the calling thread's network namespace, which it keeps alive.
    ///
    /// # Errors
    /// The kernel has no netfilter netlink.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
        Ok(Self { socket, sequence: 0, question: Vec::new(), answer: vec![0; ANSWER_BYTES].into() })
    }

    /// Asks for a connection that cannot exist, to learn whether the table answers at all. Makes a kernel whose
    /// connection tracking is a module load the part that answers, which may take a moment.
    ///
    /// # Errors
    /// What the kernel says instead of "no such entry".
    pub fn probe(&mut self) -> io::Result<()> {
        let discard = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let question = Tuple { protocol: Protocol::Tcp, source: discard, destination: discard };
        match self.ask(&[question])[0] {
            Answer::Failed(0) => Err(io::Error::other("the kernel did not answer")),
            Answer::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
            Answer::Tracked(_) | Answer::Untracked => Ok(()),
        }
    }

    fn batch(&mut self, questions: &[Tuple], answers: &mut [Answer]) {
        let first = self.sequence.wrapping_add(1);
        self.question.clear();
        for question in questions {
            self.sequence = self.sequence.wrapping_add(1);
            message::encode(question, self.sequence, &mut self.question);
        }
        let kernel = SocketAddrNetlink::new(0, 0);
        if let Err(error) = sendto(self.socket.as_fd(), &self.question, SendFlags::DONTWAIT, &kernel) {
            return answers.fill(Answer::Failed(error.raw_os_error()));
        }
        let mut missing = questions.len();
        for _ in 0..READS {
            if missing == 0 {
                break;
            }
            let Ok((length, _)) = recv(self.socket.as_fd(), &mut self.answer[..], RecvFlags::DONTWAIT) else {
                break;
            };
            for (sequence, reply) in message::decode(&self.answer[..length]) {
                // What an earlier batch left behind has another number.
                let index = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                if let (Some(answer), Some(question)) = (answers.get_mut(index), questions.get(index)) {
                    *answer = judge(question, reply);
                    missing = missing.saturating_sub(1);
                }
            }
        }
    }
}

impl Ask for Table {
    fn ask(&mut self, questions: &[Tuple]) -> Vec<Answer> {
        let mut answers = vec![Answer::Failed(0); questions.len()];
        for (questions, answers) in questions.chunks(AT_ONCE).zip(answers.chunks_mut(AT_ONCE)) {
            self.batch(questions, answers);
        }
        answers
    }
}

/// A question finds a connection by either of its directions; only its opener was translated.
fn judge(question: &Tuple, reply: Reply) -> Answer {
    match reply {
        Reply::Tracked { original, reply } if original == *question => Answer::Tracked(reply.inverted()),
        Reply::Tracked { .. } | Reply::Refused(NO_ENTRY) => Answer::Untracked,
        Reply::Refused(errno) => Answer::Failed(errno),
        Reply::Unknown => Answer::Failed(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: &str, destination: &str) -> Tuple {
        Tuple::new(Protocol::Tcp, source.parse().unwrap(), destination.parse().unwrap()).unwrap()
    }

    #[test]
    fn only_the_opener_of_a_connection_was_translated() {
        let (asked, service) = (tuple("10.0.0.1:1", "10.96.0.1:80"), tuple("10.0.0.2:8080", "10.0.0.1:1"));
        let reply = Reply::Tracked { original: asked, reply: service };
        assert_eq!(judge(&asked, reply), Answer::Tracked(tuple("10.0.0.1:1", "10.0.0.2:8080")));
        assert_eq!(judge(&service, reply), Answer::Untracked, "the side that accepted");
        assert_eq!(judge(&asked, Reply::Refused(2)), Answer::Untracked);
        assert_eq!(judge(&asked, Reply::Refused(1)), Answer::Failed(1));
        assert_eq!(judge(&asked, Reply::Unknown), Answer::Failed(0));
    }

    #[test]
    fn every_question_has_an_answer_though_nobody_may_ask() {
        let Ok(mut table) = Table::open() else { return };
        let questions: Vec<Tuple> =
            (1..=100).map(|port| tuple(&format!("127.0.0.1:{port}"), "127.0.0.1:9")).collect();
        let answers = table.ask(&questions);
        assert_eq!(answers.len(), questions.len());
        // Untracked where the test may ask, else refused for the same reason.
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_ne!(answers[0], Answer::Failed(0), "no answer at all");
    }
}
