//! Accepted rules, parameters of the SAM CLI, and the places of findings.

use std::fs;

use serde_json::Value;

use super::{TEMPLATE, doctor};
use crate::kit::kit_with;

#[test]
fn an_accepted_rule_does_not_count() {
    let queue = TEMPLATE.replace("!GetAtt Failures.Arn", "!GetAtt Queue.Arn");
    let run = doctor(&queue, "--accept destination-without-data");
    assert_eq!(run.exit_code, Some(0), "{}", run.stdout);
    let finding: Value = serde_json::from_str(&run.stdout).expect("one finding");
    assert_eq!(
        (&finding["severity"], &finding["setting"]),
        (&"accepted".into(), &"DestinationConfig".into())
    );
    assert!(run.stderr.ends_with("0 errors, 0 warnings, 1 accepted\n"), "{}", run.stderr);

    let unneeded = doctor(TEMPLATE, "--accept destination-without-data");
    assert_eq!(unneeded.exit_code, Some(2));
    assert!(unneeded.stderr.contains("the rule finds nothing"), "{}", unneeded.stderr);
    let unknown = doctor(&queue, "--accept sqs");
    assert_eq!(unknown.exit_code, Some(2));
    assert!(
        unknown.stderr.contains("--accept sqs: no such rule, only alarm-dimensions,"),
        "{}",
        unknown.stderr
    );
    // Another finding about the destination is not accepted.
    let none =
        TEMPLATE.replace("DestinationConfig: { OnFailure: { Destination: !GetAtt Failures.Arn } }", "");
    assert_eq!(doctor(&none, "--accept destination-without-data").exit_code, Some(2));
}

#[test]
fn a_finding_names_file_line_and_parameter() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("template.yaml");
    fs::write(&file, TEMPLATE.replace("Default: TRIM_HORIZON", "Default: LATEST")).expect("a file");
    let file = file.to_str().expect("text");
    let run = kit_with(["doctor", file, "--format", "json"], "");
    let finding: Value = serde_json::from_str(&run.stdout).expect("one finding");
    let line = TEMPLATE.lines().position(|line| line.contains("StartingPosition")).expect("a line") + 1;
    assert_eq!((&finding["file"], &finding["line"]), (&file.into(), &line.into()));
    assert_eq!(finding["parameters"], serde_json::json!(["Position"]));
    assert_eq!(finding["rule"], "starting-position");
    let run = kit_with(["doctor", file], "");
    assert!(run.stdout.contains(&format!("\n  at:   {file}:{line}, parameter Position\n")), "{}", run.stdout);
}

#[test]
fn parameters_are_those_of_an_environment_of_the_sam_cli() {
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("template.yaml");
    fs::write(&template, TEMPLATE).expect("a file");
    let config = "version = 0.1\n[staging.deploy.parameters]\nstack_name = \"orders\"\nregion = \"eu-west-1\"\n\
                  parameter_overrides = \"Position=LATEST\"\n\
                  [production.deploy.parameters]\nparameter_overrides = [\"Position=TRIM_HORIZON\"]\n";
    fs::write(folder.path().join("samconfig.toml"), config).expect("a file");
    let template = template.to_str().expect("text");
    let staging = kit_with(["doctor", template, "--config-env", "staging"], "");
    assert_eq!(staging.exit_code, Some(1));
    assert!(staging.stdout.contains("StartingPosition: LATEST"), "{}", staging.stdout);
    let taken = "samconfig.toml, environment staging: 1 parameter, stack orders, region eu-west-1\n";
    assert!(staging.stderr.contains(taken), "{}", staging.stderr);
    assert_eq!(kit_with(["doctor", template, "--config-env", "production"], "").exit_code, Some(0));
    let given = ["doctor", template, "--config-env", "staging", "--parameter", "Position=TRIM_HORIZON"];
    assert_eq!(kit_with(given, "").exit_code, Some(0));
    let missing = kit_with(["doctor", template, "--config-env", "test"], "");
    assert_eq!(missing.exit_code, Some(2));
    assert!(
        missing.stderr.contains(r#"no environment "test", only production, staging"#),
        "{}",
        missing.stderr
    );
}
