use unhidra_runtime::Clock;

use super::*;

#[test]
fn who_speaks_another_version_is_not_told_that_the_server_failed() {
    let failure = Failure::new(ProblemCode::UnsupportedVersion, "another version");
    assert_eq!(failure.status(), StatusCode::UPGRADE_REQUIRED);
}

#[test]
fn an_overloaded_server_says_when_to_come_back() {
    let answer = Failure::from(LoginError::Overloaded(Overloaded)).answer(Clock::System.context().request_id);
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
}

#[test]
fn what_passes_by_itself_needs_nobody_to_look() {
    for passing in [StoreError::Overloaded, StoreError::Closed] {
        assert!(Failure::from(passing).is_transient());
    }
    assert!(Failure::unavailable().is_transient());
    assert!(!Failure::from(StoreError::DiskFull).is_transient());
    assert!(!Failure::from(StoreError::CommitFailed).is_transient());
}

#[test]
fn a_database_error_shows_nothing_of_itself() {
    let failure = Failure::from(StoreError::Corrupt("secret_column"));
    assert_eq!(
        (failure.status(), failure.title),
        (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
    );
    assert!(
        failure
            .cause
            .is_some_and(|cause| cause.to_string().contains("secret_column"))
    );
}
