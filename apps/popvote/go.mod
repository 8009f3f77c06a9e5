module github.com/popvote/popvote/apps/popvote

go 1.26.0

require github.com/popvote/popvote/libs v0.0.0
require github.com/popvote/popvote/apps/api-server v0.0.0
require github.com/popvote/popvote/apps/ballot-server v0.0.0
require github.com/popvote/popvote/apps/sms-gateway v0.0.0
require github.com/popvote/popvote/apps/control-panel v0.0.0
replace github.com/popvote/popvote/libs => ../../libs
replace github.com/popvote/popvote/apps/api-server => ../api-server
replace github.com/popvote/popvote/apps/ballot-server => ../ballot-server
replace github.com/popvote/popvote/apps/sms-gateway => ../sms-gateway
replace github.com/popvote/popvote/apps/control-panel => ../control-panel
