module github.com/popvote/popvote/tools/jobs

go 1.26.0

require github.com/popvote/popvote/libs v0.0.0

replace github.com/popvote/popvote/libs => ../../libs
