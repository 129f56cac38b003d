//! Streams that are fed over a transport.

use mpp_tempo::wire::NeedVoucher;

use super::*;
use crate::exchange::{ManageWire, SendError};
use crate::flow::{Answer, Probe, ReceiptField};

/// A server that refuses the first voucher for its challenge, while a request begins beside the
/// stream.
struct Server<'a> {
    bench: &'a Bench,
    offer: Offer,
    channel: ChannelId,
    beside: Option<Payment>,
}

impl Server<'_> {
    fn confirms(&self, accepted: u128) -> Answer {
        let receipt = Box::new(receipt(self.channel, accepted, 2_000));
        Answer {
            status: 204,
            receipt: ReceiptField::Session(receipt),
            ..Answer::default()
        }
    }
}

impl ManageWire for Server<'_> {
    async fn manage(
        &mut self,
        _: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        let payload = SessionPayload::from_value(&read(field.unwrap()).payload);
        Ok(match payload.unwrap() {
            SessionPayload::Voucher { .. } if self.beside.is_none() => {
                self.beside = Some(self.bench.begin(&self.offer).await);
                Answer {
                    status: 402,
                    challenges: vec![self.offer.challenge().clone()],
                    ..Answer::default()
                }
            }
            SessionPayload::Voucher {
                cumulative_amount, ..
            } => self.confirms(cumulative_amount.base_units()),
            SessionPayload::TopUp { transaction, .. } => {
                self.bench.mine(&transaction).await;
                self.confirms(2_000)
            }
            _ => panic!("neither voucher nor top-up"),
        })
    }
}

// What a request needs beside the stream makes the channel too small: it is refilled, and the stream
// goes on.
#[tokio::test]
async fn a_request_beside_a_stream_does_not_end_it() {
    let bench = Bench::new();
    let offer = offer_with(|request| request["suggestedDeposit"] = json!("3000"));
    let id = bench.open(&offer).await;
    let mut stream = bench.begin(&offer).await;
    send(&mut stream).await;
    stream.begin_stream().unwrap();
    let mut server = Server {
        bench: &bench,
        offer,
        channel: id,
        beside: None,
    };
    let need = NeedVoucher {
        channel_id: id,
        required_cumulative: units(3_000),
        accepted_cumulative: units(2_000),
        deposit: units(3_000),
    };
    let (payer, site) = (&bench.payer, &bench.site);
    let fed = payer.feed_over(site, &mut server, &mut stream, &need);
    fed.await.unwrap();
    let ledger = bench.record(id).ledger;
    assert_eq!(ledger.accepted(), units(4_000));
    assert_eq!(ledger.deposit(), units(6_000));
}
