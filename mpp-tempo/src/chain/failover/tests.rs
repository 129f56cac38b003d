//! Whatever the nodes do: what is believed, and where transactions go.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use alloc::vec;
use proptest::prelude::*;

use super::*;

/// What a node does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Answers,
    Unreachable,
    Malformed,
    Rejects,
    /// Takes transactions and loses the answer.
    Loses,
}

/// A node in some mood, at some height; what it answers names it.
#[derive(Debug)]
struct Node {
    number: u8,
    mood: Mutex<Mood>,
    /// What it does when it is asked for its head.
    looked_at: Mutex<Mood>,
    head: AtomicU64,
    /// Transactions that reached it.
    taken: AtomicU64,
    asked: AtomicU64,
}

impl Node {
    fn new(number: usize, mood: Mood, head: u64) -> Arc<Self> {
        Arc::new(Self {
            number: u8::try_from(number).unwrap(),
            mood: Mutex::new(mood),
            looked_at: Mutex::new(mood),
            head: AtomicU64::new(head),
            taken: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        })
    }

    fn turns(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.turns_when_looked_at(mood);
    }

    /// Its head is another matter than all else.
    fn turns_when_looked_at(&self, mood: Mood) {
        *self.looked_at.lock().unwrap() = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn name(&self) -> B256 {
        B256::repeat_byte(self.number)
    }

    fn answer<T>(&self, answer: T) -> Result<T, ChainError> {
        self.answer_as(self.mood(), answer)
    }

    fn answer_as<T>(&self, mood: Mood, answer: T) -> Result<T, ChainError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match mood {
            Mood::Answers | Mood::Loses => Ok(answer),
            Mood::Unreachable => Err(ChainError::unreachable("down")),
            Mood::Malformed => Err(ChainError::malformed("html")),
            Mood::Rejects => Err(ChainError::rejected("no")),
        }
    }

    fn height(&self) -> u64 {
        self.head.load(Ordering::SeqCst)
    }
}

impl ChainClient for Arc<Node> {
    fn chain_id(&self) -> u64 {
        1
    }

    async fn channel(
        &self,
        _: SessionProtocol,
        _: Address,
        _: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        self.answer(ChannelView::unknown())
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        self.answer(vec![ChannelView::unknown(); asked.len()])
    }

    async fn send_and_wait(&self, _: Bytes) -> Result<TxReceipt, ChainError> {
        if matches!(self.mood(), Mood::Answers | Mood::Loses | Mood::Malformed) {
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
        let receipt = TxReceipt {
            hash: self.name(),
            success: true,
            block_number: self.height(),
            logs: Vec::new(),
            gas_used: 0,
            from: Address::ZERO,
            fee_payer: None,
            gas_price: None,
        };
        match self.mood() {
            Mood::Loses => Err(ChainError::Unknown { hash: self.name() }),
            _ => self.answer(receipt),
        }
    }

    async fn receipt(&self, _: B256) -> Result<Option<TxReceipt>, ChainError> {
        self.answer(None)
    }

    async fn logs(&self, _: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        let log = ChainLog {
            topics: vec![self.name()],
            ..ChainLog::default()
        };
        self.answer(vec![log])
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        let head = BlockInfo {
            number: self.height(),
            timestamp: 0,
            hash: self.name(),
        };
        let mood = *self.looked_at.lock().unwrap();
        self.answer_as(mood, head)
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        self.answer(FeeQuote {
            base_fee_per_gas: 1,
            max_fee_per_gas: 1,
            max_priority_fee_per_gas: 0,
        })
    }

    async fn simulate(&self, _: Simulation) -> Result<Simulated, ChainError> {
        self.answer(Simulated::Succeeded { gas_used: None })
    }

    async fn token_balance(&self, _: Address, _: Address) -> Result<Amount, ChainError> {
        self.answer(Amount::ZERO)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

fn chain(nodes: &[Arc<Node>]) -> FailoverChain<Arc<Node>> {
    FailoverChain::new(nodes.iter().cloned()).unwrap()
}

/// Which node answered a read.
async fn reader(chain: &FailoverChain<Arc<Node>>) -> Result<u8, ChainError> {
    let logs = chain.logs(LogFilter::default()).await?;
    Ok(logs[0].topics[0].0[0])
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        3 => Just(Mood::Answers),
        1 => Just(Mood::Unreachable),
        1 => Just(Mood::Malformed),
        1 => Just(Mood::Rejects),
        1 => Just(Mood::Loses),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // A transaction has one outcome: it goes on only from nodes that it did not reach.
    #[test]
    fn a_transaction_reaches_one_node_at_most(moods in prop::collection::vec(mood(), 1..5)) {
        let nodes: Vec<_> = (0..).zip(&moods).map(|(number, mood)| Node::new(number, *mood, 9)).collect();
        let sent = block_on(chain(&nodes).send_and_wait(Bytes::new()));
        let first = moods.iter().position(|mood| *mood != Mood::Unreachable);
        for (index, node) in nodes.iter().enumerate() {
            let taken = node.taken.load(Ordering::SeqCst);
            prop_assert!(taken == 0 || (taken == 1 && Some(index) == first));
        }
        match first.map(|index| (moods[index], nodes[index].name())) {
            Some((Mood::Answers, name)) => prop_assert_eq!(sent.unwrap().hash, name),
            Some((Mood::Loses, hash)) => prop_assert_eq!(sent, Err(ChainError::Unknown { hash })),
            Some((Mood::Rejects, _)) => assert!(matches!(sent, Err(ChainError::Rejected { .. }))),
            Some((Mood::Malformed, _)) => assert!(matches!(sent, Err(ChainError::Malformed { .. }))),
            _ => assert!(matches!(sent, Err(ChainError::Unreachable { .. }))),
        }
    }

    // A laggard is not believed while a better node is known, and a read that one node can answer
    // is answered.
    #[test]
    fn reads_come_from_nodes_that_answer_and_are_up_to_date(
        nodes in prop::collection::vec((mood(), 0..40_u64), 1..5),
    ) {
        let nodes: Vec<_> = (0..).zip(nodes).map(|(number, (mood, head))| Node::new(number, mood, head)).collect();
        let chain = chain(&nodes);
        let (head, read) = block_on(async {
            let head = chain.block().await;
            (head, reader(&chain).await)
        });
        let good = |node: &&Arc<Node>| matches!(node.mood(), Mood::Answers | Mood::Loses);
        let best = nodes.iter().filter(good).map(|node| node.height()).max();
        let Some(best) = best else {
            prop_assert!(head.is_err() && read.is_err());
            return Ok(());
        };
        let usable = nodes.iter().filter(good).find(|node| node.height().saturating_add(MAX_LAG) >= best);
        let expected = usable.unwrap();
        prop_assert_eq!(head.unwrap().hash, expected.name());
        prop_assert_eq!(read, Ok(expected.number));
    }

    // Whatever the nodes do, what is read after a look at the head is not much older than it, and
    // not much older than any head before.
    #[test]
    fn nothing_is_read_that_is_older_than_a_head(
        looks in prop::collection::vec(prop::collection::vec((mood(), mood(), 0..12_u64), 3), 1..12),
    ) {
        let nodes = [0, 1, 2].map(|number| Node::new(number, Mood::Answers, 0));
        let chain = chain(&nodes);
        let mut told = 0;
        for look in looks {
            for (node, (looked_at, mood, blocks)) in nodes.iter().zip(look) {
                node.head.fetch_add(blocks, Ordering::SeqCst);
                node.turns(mood);
                node.turns_when_looked_at(looked_at);
            }
            let (head, read) = block_on(async { (chain.block().await, reader(&chain).await) });
            told = head.map_or(told, |head| told.max(head.number));
            if let Ok(reader) = read {
                let height = nodes[usize::from(reader)].height();
                prop_assert!(height.saturating_add(MAX_LAG) >= told, "{height} {told}");
            }
        }
    }

    // Whatever happened before, a chain whose nodes are well again answers.
    #[test]
    fn nodes_that_are_well_again_are_used_again(
        moods in prop::collection::vec((mood(), mood()), 0..40),
    ) {
        let nodes = [0, 1].map(|number| Node::new(number, Mood::Answers, 9));
        let chain = chain(&nodes);
        block_on(async {
            for (first, second) in moods {
                nodes[0].turns(first);
                nodes[1].turns(second);
                drop(chain.block().await);
                drop(reader(&chain).await);
            }
            nodes.iter().for_each(|node| node.turns(Mood::Answers));
            assert!(reader(&chain).await.is_ok());
            // Within the longest rest the preferred one is found well.
            for _ in 0..=MAX_REST {
                chain.block().await.unwrap();
            }
            assert_eq!(reader(&chain).await, Ok(0));
        });
    }
}

#[test]
fn a_failing_node_is_left_alone_for_longer_and_longer() {
    let nodes = [
        Node::new(0, Mood::Unreachable, 9),
        Node::new(1, Mood::Answers, 9),
    ];
    let chain = chain(&nodes);
    block_on(async {
        for _ in 0..64 {
            assert_eq!(chain.block().await.unwrap().hash, nodes[1].name());
        }
    });
    assert!(nodes[0].asked.load(Ordering::SeqCst) <= 8);
    assert_eq!(nodes[1].asked.load(Ordering::SeqCst), 64);
}

#[test]
fn nodes_of_different_chains_do_not_go_together() {
    let none: [Arc<Node>; 0] = [];
    assert_eq!(FailoverChain::new(none).err(), Some(FailoverError::Empty));
}

/// Two nodes, of which only the first has told its head.
async fn one_of_two(heads: [u64; 2]) -> ([Arc<Node>; 2], FailoverChain<Arc<Node>>) {
    let [first, second] = heads;
    let nodes = [
        Node::new(0, Mood::Answers, first),
        Node::new(1, Mood::Answers, second),
    ];
    nodes[1].turns_when_looked_at(Mood::Unreachable);
    let chain = chain(&nodes);
    assert_eq!(chain.block().await.unwrap().number, first);
    (nodes, chain)
}

// Case A33: what a node does not show because it is far behind may have happened.
#[test]
fn a_node_of_unknown_height_does_not_say_that_nothing_happened() {
    block_on(async {
        let (nodes, chain) = one_of_two([1_000, 0]).await;
        assert_eq!(chain.receipt(B256::ZERO).await, Ok(None));
        nodes[0].turns(Mood::Unreachable);
        assert!(chain.receipt(B256::ZERO).await.is_err());
        assert!(reader(&chain).await.is_err());
        // It tells its head again, which is too old.
        nodes[1].turns(Mood::Answers);
        assert!(chain.receipt(B256::ZERO).await.is_err());
        assert!(chain.block().await.is_err());
    });
}

#[test]
fn a_node_that_is_well_again_and_up_to_date_stands_in_at_once() {
    block_on(async {
        let (nodes, chain) = one_of_two([9, 9]).await;
        nodes[1].turns(Mood::Answers);
        nodes[0].turns(Mood::Unreachable);
        assert_eq!(reader(&chain).await, Ok(1));
        // It has told its head once, and is believed from then on.
        let asked = nodes[1].asked.load(Ordering::SeqCst);
        assert_eq!(reader(&chain).await, Ok(1));
        assert_eq!(nodes[1].asked.load(Ordering::SeqCst), asked + 1);
    });
}

// Somebody may have been answered the head just before its node was lost.
#[test]
fn a_head_binds_when_its_node_is_gone() {
    block_on(async {
        let nodes = [
            Node::new(0, Mood::Answers, 1_000),
            Node::new(1, Mood::Answers, 900),
        ];
        let chain = chain(&nodes);
        assert_eq!(chain.block().await.unwrap().number, 1_000);
        nodes[0].turns(Mood::Unreachable);
        assert!(chain.block().await.is_err());
        assert!(chain.receipt(B256::ZERO).await.is_err());
        // The other one catches up.
        nodes[1].head.store(992, Ordering::SeqCst);
        assert_eq!(chain.block().await.unwrap().number, 992);
        assert_eq!(chain.receipt(B256::ZERO).await, Ok(None));
    });
}

// The nodes agree on the outcome, however far one of them is.
#[test]
fn a_node_of_unknown_height_takes_transactions() {
    block_on(async {
        let (nodes, chain) = one_of_two([9, 9]).await;
        nodes[0].turns(Mood::Unreachable);
        let sent = chain.send_and_wait(Bytes::new()).await;
        assert_eq!(sent.unwrap().hash, nodes[1].name());
    });
}

#[test]
fn before_the_first_look_every_node_is_believed() {
    let nodes = [
        Node::new(0, Mood::Unreachable, 9),
        Node::new(1, Mood::Answers, 9),
    ];
    assert_eq!(block_on(reader(&chain(&nodes))), Ok(1));
    assert_eq!(nodes[1].asked.load(Ordering::SeqCst), 1);
}

/// Two nodes, of which the first has told a head that no chain has, and is gone.
async fn one_that_was_absurd() -> ([Arc<Node>; 2], FailoverChain<Arc<Node>>) {
    let nodes = [
        Node::new(0, Mood::Answers, 1_000_000),
        Node::new(1, Mood::Answers, 900),
    ];
    let chain = chain(&nodes);
    assert_eq!(chain.block().await.unwrap().number, 1_000_000);
    nodes[0].turns(Mood::Unreachable);
    (nodes, chain)
}

#[test]
fn an_absurd_head_does_not_bind_for_ever() {
    block_on(async {
        let (nodes, chain) = one_that_was_absurd().await;
        // It was just answered to somebody.
        assert!(chain.block().await.is_err());
        assert!(chain.receipt(B256::ZERO).await.is_err());
        for _ in 0..BINDING {
            nodes[1].head.fetch_add(1, Ordering::SeqCst);
            drop(chain.block().await);
        }
        assert_eq!(chain.block().await.unwrap().hash, nodes[1].name());
        assert_eq!(reader(&chain).await, Ok(1));
    });
}

// A payer's deadline does not wait: the nodes agree on the outcome of a transaction.
#[test]
fn a_node_that_is_behind_takes_transactions_if_no_other_does() {
    block_on(async {
        let (nodes, chain) = one_that_was_absurd().await;
        assert!(chain.block().await.is_err());
        let sent = chain.send_and_wait(Bytes::new()).await;
        assert_eq!(sent.unwrap().hash, nodes[1].name());
    });
}

// However long nobody has told a head: one has to, before it is asked for anything else.
#[test]
fn a_node_is_not_believed_unasked_once_no_head_binds_any_more() {
    block_on(async {
        let (nodes, chain) = one_of_two([1_000, 0]).await;
        nodes[0].turns(Mood::Unreachable);
        for _ in 0..=BINDING {
            assert!(chain.block().await.is_err());
        }
        assert!(reader(&chain).await.is_err());
    });
}

// However many look at once: a head binds until its node has been silent for long.
#[test]
fn looks_that_are_under_way_unbind_no_head() {
    block_on(async {
        let nodes = [
            Node::new(0, Mood::Answers, 900),
            Node::new(1, Mood::Answers, 2_000),
        ];
        let chain = chain(&nodes);
        assert_eq!(chain.block().await.unwrap().number, 2_000);
        for _ in 0..=BINDING {
            // Begun, and not heard of yet.
            drop(chain.heads().await);
        }
        assert_eq!(reader(&chain).await, Ok(1));
    });
}
