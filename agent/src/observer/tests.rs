//! Who waits for the loop, and what wakes it.

use std::sync::mpsc::TryRecvError;

use super::*;

const NEW: Duration = Duration::ZERO;
const DEADLINE: Duration = Duration::from_secs(20);

fn ask(handle: &Handle) -> tokio::task::JoinHandle<Result<Arc<Snapshot>, SourceGone>> {
    let handle = handle.clone();
    tokio::spawn(async move { handle.snapshot(NEW).await })
}

/// The next question, for which the runtime gets its turns.
async fn asked(messages: &mpsc::Receiver<Message>) -> Request {
    let next = async {
        loop {
            match messages.try_recv() {
                Ok(Message::Ask(request)) => return request,
                Ok(Message::Wake) => {}
                Err(TryRecvError::Empty) => tokio::task::yield_now().await,
                Err(TryRecvError::Disconnected) => panic!("nobody can ask any more"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, next).await.expect("a question")
}

#[tokio::test]
async fn whoever_asks_a_loop_that_is_gone_is_told() {
    let (handle, messages) = channel();
    let early = ask(&handle);
    let request = asked(&messages).await;
    let waiting = ask(&handle);
    drop(asked(&messages).await);
    assert!(waiting.await.unwrap().is_err(), "the loop has thrown the question away");
    drop((request, messages));
    assert!(early.await.unwrap().is_err());
    assert!(handle.snapshot(NEW).await.is_err());
}

#[tokio::test]
async fn only_so_many_wait_and_the_others_wait_for_them() {
    let (handle, messages) = channel();
    let askers: Vec<_> = (0..REQUESTS + 2).map(|_| ask(&handle)).collect();
    let mut requests = Vec::new();
    for _ in 0..=REQUESTS {
        requests.push(asked(&messages).await);
    }
    assert_eq!(handle.turns.available_permits(), 0);
    assert!(matches!(messages.try_recv(), Err(TryRecvError::Empty)), "one too many");
    drop(requests.pop());
    asked(&messages).await;
    drop(askers);
}

#[tokio::test]
async fn a_ring_that_fills_and_the_end_wake_the_loop() {
    let (mut ring, wakeups) = Wakeups::by_hand();
    let (handle, messages) = channel();
    let (seen, detach) = (Arc::<AtomicBool>::default(), CancellationToken::new());
    let filling = Filling { wakeups: Some(wakeups), seen: seen.clone() };
    let waking = tokio::spawn(wake(filling, detach.clone(), handle.messages.clone()));
    let woken = async || {
        let message = async {
            while messages.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, message).await.expect("a message");
    };
    ring.half_full();
    woken().await;
    assert!(seen.swap(false, Ordering::Relaxed), "the loop looks at this");
    ring.half_full();
    woken().await;
    detach.cancel();
    woken().await;
    waking.await.unwrap();
}
