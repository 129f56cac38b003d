//! Management requests: top-ups, closes, vouchers beside a stream, and asking for a challenge.

use std::future::{Future, ready};
use std::time::Duration;

use http::{HeaderValue, Method, header};
use mpp_client::flow::{ManageAction, Management, Probe};
use mpp_client::offer::Unpayable;
use mpp_client::session::close::Close;
use mpp_client::session::payment::{CredentialField, Next, Payment};
use mpp_client::session::top_up::TopUp;
use mpp_client::{Choice, ClientError, Offer, Site, TransportError};
use mpp_core::{Problem, SessionReceipt};
use reqwest::Request;
use url::Url;

use super::Client;
use super::answer::read;
use super::order::add_credential;
use super::transport::SendError;

/// How long one management request may take: a top-up or a close waits for the chain.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Top-ups that one request may need in a row.
const MAX_TOP_UPS: u32 = 4;

/// What a management request says.
pub(super) trait Manage: Send {
    /// The credential under this offer.
    fn credential(
        &mut self,
        offer: &Offer,
    ) -> impl Future<Output = Result<CredentialField, ClientError>> + Send;
}

impl Manage for TopUp {
    fn credential(
        &mut self,
        offer: &Offer,
    ) -> impl Future<Output = Result<CredentialField, ClientError>> + Send {
        ready(Self::credential(self, offer))
    }
}

impl Manage for Close {
    async fn credential(&mut self, offer: &Offer) -> Result<CredentialField, ClientError> {
        let field = Self::credential(self, offer).await?;
        self.mark_sent();
        Ok(field)
    }
}

impl Manage for Payment {
    async fn credential(&mut self, offer: &Offer) -> Result<CredentialField, ClientError> {
        self.voucher(offer).await
    }
}

/// How a management request ended.
#[derive(Debug)]
pub(super) enum Managed {
    /// Accepted.
    Done(Box<SessionReceipt>),
    /// Refused.
    Refused {
        status: u16,
        problem: Option<Box<Problem>>,
    },
    /// The answer was lost, twice.
    Lost(TransportError),
}

/// The error that a refusal becomes.
pub(super) fn refusal(status: u16, problem: Option<Box<Problem>>) -> ClientError {
    problem.map_or(ClientError::Status { status }, ClientError::Problem)
}

impl Client {
    /// The credential of a payment, after the top-ups that it needs.
    pub(super) async fn credential(
        &self,
        url: &Url,
        payment: &mut Payment,
    ) -> Result<CredentialField, ClientError> {
        for _ in 0..MAX_TOP_UPS {
            match payment.prepare().await? {
                Next::Send(field) => return Ok(field),
                Next::TopUp(top_up) => {
                    self.top_up(url, payment.offer().clone(), *top_up).await?;
                }
            }
        }
        Err(ClientError::Protocol("no top-up is enough for it"))
    }

    /// Sends a top-up.
    pub(super) async fn top_up(
        &self,
        url: &Url,
        offer: Offer,
        mut top_up: TopUp,
    ) -> Result<SessionReceipt, ClientError> {
        match self.manage(url, offer, &mut top_up).await? {
            Managed::Done(receipt) => {
                top_up.confirm(&receipt)?;
                Ok(*receipt)
            }
            Managed::Refused { status, problem } => Err(top_up.refuse(refusal(status, problem))),
            Managed::Lost(error) => Err(top_up.lose(error)),
        }
    }

    /// Sends a management request, again under a fresh challenge when the first one is no good.
    pub(super) async fn manage(
        &self,
        url: &Url,
        mut offer: Offer,
        manage: &mut impl Manage,
    ) -> Result<Managed, ClientError> {
        let site = Site::of(url)?;
        let mut management = Management::new();
        let mut was_lost = false;
        loop {
            let field = manage.credential(&offer).await?;
            let request = request(url, management.probe(), Some(&field))?;
            let response = match self.transport.send(request).await {
                Ok(response) => response,
                // Repeating it is harmless: vouchers are idempotent, transactions are the same.
                Err(SendError::NotSent(_) | SendError::MayHaveArrived(_)) if !was_lost => {
                    was_lost = true;
                    continue;
                }
                Err(SendError::NotSent(error) | SendError::MayHaveArrived(error)) => {
                    return Ok(Managed::Lost(error));
                }
            };
            let (answer, _content) = read(response).await;
            match management.on_answer(&answer) {
                ManageAction::Done(receipt) => return Ok(Managed::Done(receipt)),
                ManageAction::Send(_, None) => {}
                ManageAction::Send(_, Some(fresh)) => {
                    self.payer.learn(&site, &fresh);
                    offer = fresh;
                }
                ManageAction::Refused { status, problem } => {
                    return Ok(Managed::Refused { status, problem });
                }
                ManageAction::Fail(error) => return Err(error),
            }
        }
    }

    /// The offer to use for managing: one that is known, or one that is asked for.
    pub(super) async fn any_offer(&self, url: &Url) -> Result<Offer, ClientError> {
        if let Some(offer) = self.payer.known_offer(&Site::of(url)?) {
            return Ok(offer);
        }
        match self.ask(url).await? {
            Some(Choice::Session(offer)) => Ok(offer),
            Some(_) => Err(ClientError::Unpayable(Unpayable::NotOffered)),
            None => Err(ClientError::Protocol("it does not ask for payment")),
        }
    }

    /// Asks for challenges without buying anything, and chooses one; `None` when the resource is
    /// free.
    pub(super) async fn ask(&self, url: &Url) -> Result<Option<Choice>, ClientError> {
        let site = Site::of(url)?;
        for probe in [Probe::Head, Probe::Post] {
            let response = self.transport.send(request(url, probe, None)?).await?;
            let (answer, _content) = read(response).await;
            match answer.status {
                402 => {
                    let choice = self.payer.choose(&site, &answer.challenges)?;
                    self.payer.learn_choice(&site, &choice);
                    return Ok(Some(choice));
                }
                404 | 405 | 501 => {}
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// A request without content. By `POST` it goes without the query (see [`Probe::Post`]).
pub(super) fn request(
    url: &Url,
    probe: Probe,
    field: Option<&CredentialField>,
) -> Result<Request, ClientError> {
    let mut url = url.clone();
    let method = match probe {
        Probe::Head => Method::HEAD,
        Probe::Post => {
            url.set_query(None);
            Method::POST
        }
    };
    let mut request = Request::new(method, url);
    *request.timeout_mut() = Some(TIMEOUT);
    if probe == Probe::Post {
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some(field) = field {
        add_credential(request.headers_mut(), field)?;
    }
    Ok(request)
}
