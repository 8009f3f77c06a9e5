module github.com/popvote/popvote/tools/smoke

go 1.26.0
