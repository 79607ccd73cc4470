package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// language is what a job is written in, and its workers with it.
type language string

const (
	python language = "python"
	java   language = "java"
	golang language = "go"
)

const (
	// classPathFile has Beam's Java SDK and our runner: see scripts/setup-java.sh.
	classPathFile = "conformance/java/target/classpath-portable"
	batchProgram  = "crash-batch"
)

// streamProgram is the command that submits the streaming job in a language, with workers that are processes.
func (s *suite) streamProgram(l language, job string) ([]string, error) {
	if l == java {
		return s.javaProgram(job)
	}
	return s.pythonProgram(job)
}

func (s *suite) pythonProgram(job string) ([]string, error) {
	python := filepath.Join(absolute(s.c.cache), "venv", "bin", "python")
	code := absolute("crash/python")
	config, err := json.Marshal(map[string]any{
		"command": python + " -m apache_beam.runners.worker.sdk_worker_main", "env": map[string]string{"PYTHONPATH": code},
	})
	return []string{
		python, filepath.Join(code, "submit.py"), "--runner=PortableRunner", "--job_name=" + job,
		fmt.Sprintf("--job_endpoint=127.0.0.1:%d", s.r.port), "--environment_type=PROCESS", "--environment_config=" + string(config),
	}, err
}

func (s *suite) javaProgram(job string) ([]string, error) {
	beam, err := os.ReadFile(classPathFile)
	if err != nil {
		return nil, err
	}
	classPath := filepath.Join(absolute(s.c.cache), "crash-java") + ":" + strings.TrimSpace(string(beam))
	// A worker does not live long here: what it compiles has no time to pay.
	jvm := []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classPath}
	config, err := json.Marshal(map[string]string{"command": strings.Join(jvm, " ") + " org.apache.beam.fn.harness.FnHarness"})
	return append(jvm,
		"CrashStream", "--runner=PharosRunner", "--jobName="+job, fmt.Sprintf("--pharosEndpoint=127.0.0.1:%d", s.r.port),
		"--defaultEnvironmentType=PROCESS", "--defaultEnvironmentConfig="+string(config), "--filesToStage="), err
}
