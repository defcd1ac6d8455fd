//! Many accounts at once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;
use tokio::task::JoinSet;
use unhidra_types::{ConversationId, UserId};

use crate::{
    account::{Account, Admission, invite},
    http::Http,
    progress::Progress,
    random::random,
    seat::Lane,
    target::Target,
};

/// Accounts that are opened at the same time.
const AT_ONCE: u32 = 24;
/// Accounts that are deleted at the same time: each proves its password, which a server computes one after the other.
const DELETED_AT_ONCE: usize = 4;

/// Whoever may invite.
pub enum Host {
    /// The set-up token of a new server: its first account becomes the administrator.
    SetupToken(String),
    /// An administrator's access token.
    Token(String),
}

/// Accounts on one server, the first one first.
pub struct Population {
    /// The accounts.
    pub accounts: Vec<Account>,
    target: Target,
    nonce: u32,
    admin: Option<Account>,
    token: Option<String>,
    conversations: Vec<ConversationId>,
    /// Accounts in each of them.
    members: usize,
}

impl Population {
    /// No accounts yet.
    ///
    /// # Errors
    /// When the first account of a new server can't be opened.
    pub async fn begin(target: &Target, host: Host) -> anyhow::Result<Self> {
        let nonce = random();
        let (mut admin, mut token) = (None, None);
        match host {
            Host::Token(given) => token = Some(given),
            Host::SetupToken(setup) => {
                let admission = Admission {
                    invitation: &setup,
                    number: 0,
                    nonce,
                };
                let account = Account::open(target, admission).await;
                admin = Some(account.context("open the first account")?);
            }
        }
        Ok(Self {
            accounts: Vec::new(),
            target: target.clone(),
            nonce,
            admin,
            token,
            conversations: Vec::new(),
            members: 0,
        })
    }

    /// An access token that may administrate.
    ///
    /// # Errors
    /// When it can't be replaced.
    pub async fn admin_token(&mut self) -> anyhow::Result<String> {
        match (&mut self.admin, &self.token) {
            (Some(admin), _) => admin.token().await,
            (None, Some(token)) => Ok(token.clone()),
            (None, None) => anyhow::bail!("nobody may invite"),
        }
    }

    /// An invitation for one more account.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn invite(&mut self) -> anyhow::Result<String> {
        let token = self.admin_token().await?;
        invite(&mut Http::new(self.target.clone(), None), &token).await
    }

    /// Opens accounts until there are `count`.
    ///
    /// # Errors
    /// When the server refuses one.
    pub async fn grow(&mut self, count: u32, progress: &Progress) -> anyhow::Result<()> {
        let have = u32::try_from(self.accounts.len()).context("accounts are counted in 32 bits")?;
        if have >= count {
            return Ok(());
        }
        let token: Arc<str> = self.admin_token().await?.into();
        // Number 0 is the administrator's.
        let next = Arc::new(AtomicU32::new(have + 1));
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE.min(count - have) {
            let (target, token, next) = (self.target.clone(), Arc::clone(&token), Arc::clone(&next));
            let (nonce, progress) = (self.nonce, progress.clone());
            workers.spawn(async move {
                let mut inviting = Http::new(target.clone(), None);
                let mut opened = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > count {
                        return anyhow::Ok(opened);
                    }
                    let invitation = invite(&mut inviting, &token).await.context("invite")?;
                    let admission = Admission {
                        invitation: &invitation,
                        number,
                        nonce,
                    };
                    let account = Account::open(&target, admission).await;
                    opened.push(account.with_context(|| format!("open account {number}"))?);
                    progress.count("accounts", u64::from(number), u64::from(count));
                }
            });
        }
        while let Some(opened) = workers.join_next().await {
            self.accounts.extend(opened.context("open accounts")??);
        }
        self.accounts.sort_by_key(Account::number);
        Ok(())
    }

    /// Deletes all of its accounts, and says how many are left because the server refused.
    pub async fn remove(self, progress: &Progress) -> usize {
        let all = u64::try_from(self.accounts.len()).unwrap_or(u64::MAX);
        let mut accounts = self.accounts.into_iter();
        let mut deleting = JoinSet::new();
        for account in accounts.by_ref().take(DELETED_AT_ONCE) {
            deleting.spawn(account.delete());
        }
        let (mut done, mut left) = (0, 0);
        while let Some(deleted) = deleting.join_next().await {
            done += 1;
            left += usize::from(!matches!(deleted, Ok(Ok(()))));
            progress.count("accounts deleted", done, all);
            if let Some(account) = accounts.next() {
                deleting.spawn(account.delete());
            }
        }
        left
    }

    /// Groups without a common member, in each of which one speaks to `listeners` others; accounts are opened as needed.
    /// They take the place of those opened before.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn groups(
        &mut self,
        groups: u32,
        listeners: u32,
        progress: &Progress,
    ) -> anyhow::Result<Vec<Lane>> {
        self.grow(groups * (listeners + 1), progress).await?;
        self.members = usize::try_from(listeners + 1)?;
        self.conversations.clear();
        let rooms = self.accounts.chunks_exact_mut(self.members);
        for accounts in rooms.take(usize::try_from(groups)?) {
            let (first, others) = accounts.split_first_mut().context("a group has members")?;
            let members: Vec<UserId> = others.iter().map(|account| account.user()).collect();
            let opened = first.open_group(members).await.context("open a group")?;
            self.conversations.push(opened);
        }
        self.lanes().await
    }

    /// The groups opened last, with tokens that are valid for a while.
    ///
    /// # Errors
    /// When a token can't be replaced.
    pub async fn lanes(&mut self) -> anyhow::Result<Vec<Lane>> {
        let mut lanes = Vec::with_capacity(self.conversations.len());
        let rooms = self.accounts.chunks_exact_mut(self.members.max(1));
        for (accounts, conversation) in rooms.zip(&self.conversations) {
            let (first, others) = accounts.split_first_mut().context("a group has members")?;
            let speaker = first.seat(*conversation).await?;
            let mut listeners = Vec::with_capacity(others.len());
            for account in others {
                listeners.push(account.seat(*conversation).await?);
            }
            lanes.push(Lane { speaker, listeners });
        }
        Ok(lanes)
    }
}
