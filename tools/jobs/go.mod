module github.com/popvote/popvote/tools/jobs

go 1.26.0
